"""Vision transformers as they are deployed (`ppcore.deploy.transformer`)."""

import copy

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.deploy import ExportSpec, Stage
from ppcore.deploy.export_spec import as_it_is
from ppcore.deploy.transformer import FoldedTransformer, is_foldable
from ppcore.layers.init import parameter
from ppcore.layers.std_conv import StdConv2D
from ppcore.model import traits
from ppvit.vit import VisionTransformer


class Head(nn.Layer):
    """What a model's `forward_head` does: tokens [B, kept, D] -> [B, num_classes]."""

    def __init__(self, model: VisionTransformer):
        super().__init__()
        self.norm, self.pre_logits, self.head = model.fc_norm, model.pre_logits, model.head
        self.skipped = model.num_prefix_tokens if model.pool == "gap" else None

    def forward(self, tokens):
        pooled = tokens[:, 0] if self.skipped is None else tokens[:, self.skipped :].mean(axis=1)
        return self.head(self.pre_logits(self.norm(pooled)))


class FixedConv(nn.Layer):
    """A `StdConv2D` whose filters are standardised once."""

    def __init__(self, conv: StdConv2D):
        super().__init__()
        self.weight, self.stride = parameter(self, conv.standardised().numpy()), conv._stride

    def forward(self, x):
        return F.conv2d(x, self.weight, stride=self.stride, padding="SAME")


class FixedNorm(nn.Layer):
    """A `GroupNorm` as one normalisation of each group's values: Paddle2ONNX 2.1 writes a random epsilon for GroupNorm."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.groups, self.epsilon = norm._num_groups, norm._epsilon
        self.weight = parameter(self, norm.weight.numpy()[:, None, None])
        self.bias = parameter(self, norm.bias.numpy()[:, None, None])

    def forward(self, x):  # [B, C, H, W], all but B known
        channels, height, width = x.shape[1:]
        count = channels // self.groups * height * width
        y = F.layer_norm(x.reshape([-1, self.groups, count]), [count], epsilon=self.epsilon)
        return y.reshape([-1, channels, height, width]) * self.weight + self.bias


FIXED = {StdConv2D: FixedConv, nn.GroupNorm: FixedNorm}


def export_spec(model: VisionTransformer) -> ExportSpec:
    """The deployed form of a model with its present weights.

    A class that computes something of its own, or blocks that are not the library's, are exported as they are.
    """
    kind, plain = type(model), VisionTransformer
    own = kind.forward is not plain.forward or kind.forward_head is not plain.forward_head
    return as_it_is(model) if own else folded(model, Head(model))


@paddle.no_grad()
def folded(model: VisionTransformer, head: nn.Layer) -> ExportSpec:
    """The deployed form with a given head, which reads the prefix tokens (of `pool="gap"` all but the extra one).

    Args:
        model: whose `forward` computes `forward_head(forward_features(x))`.
        head: tokens [B, prefix, D] (or [B, prefix + N, D]) -> what the model returns.
    """
    model.eval()
    parts = _tokens(model)
    own = type(model).forward_features is not VisionTransformer.forward_features
    known = nn.LayerNorm in (type(model.norm), type(model.fc_norm)) and all(map(is_foldable, model.blocks))
    if own or parts is None or not known:
        return as_it_is(model)
    prefix, positions = parts
    layer = FoldedTransformer(
        embed=fixed(model.patch_embed),
        prefix=prefix,
        positions=positions,
        blocks=model.blocks,
        norm=model.norm,
        head=head,
        kept=len(prefix) + (len(positions) if model.pool == "gap" else 0),
    )
    layer.eval()
    about = traits(model)
    return ExportSpec(
        (Stage("model", layer, {"x": (None, about.in_chans, *(about.img_size or (None, None)))}, ("logits",)),)
    )


def _tokens(model: VisionTransformer) -> tuple[np.ndarray, np.ndarray] | None:
    """What `add_tokens` puts before the patches [P, D], and what it adds to them [N, D]; None where it does otherwise."""
    patches, prefix = model.grid[0] * model.grid[1], model.num_prefix_tokens
    zeros = paddle.zeros([1, patches, model.embed_dim])
    found = model.add_tokens(zeros)[0].numpy()
    other = np.random.default_rng(0).standard_normal(zeros.shape).astype("float32")
    expected = np.concatenate([found[:prefix], found[prefix:] + other[0]])
    seen = model.add_tokens(paddle.to_tensor(other))[0].numpy()
    if seen.shape != expected.shape or not np.allclose(seen, expected, rtol=0, atol=1e-5):
        return None
    return found[:prefix], found[prefix:]


def fixed(embed: nn.Layer) -> nn.Layer:
    """A patch embedding in which nothing depends on weights alone, and norms are what every engine computes alike.

    One to which none of it applies is returned itself.
    """
    if not any(isinstance(layer, tuple(FIXED)) for layer in embed.sublayers()):
        return embed
    embed = copy.deepcopy(embed)
    for parent in embed.sublayers(include_self=True):
        for name, child in list(parent.named_children()):
            if type(child) in FIXED:
                parent.add_sublayer(name, FIXED[type(child)](child))
    return embed
