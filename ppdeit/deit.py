"""DeiT (Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention").

arXiv 2012.12877. The architecture is ViT's; what DeiT adds is a second token, the distillation
token, with a head of its own (section 4). Parameter names are timm's.
"""

from typing import Literal

import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import Linear, checks, init
from ppdeit.weights import distilled_maps
from ppvit.builders import BASE, SMALL, TINY
from ppvit.vit import VisionTransformer


class DeiT(VisionTransformer):
    """DeiT without distillation: ViT, whose class token also starts truncated normal (std .02), as DeiT's code has it.

    Args:
        **kwargs: those of `ppvit.VisionTransformer`.
    """

    def _build_tokens(self) -> None:
        patches = self.grid[0] * self.grid[1]
        self.cls_token = self._token(1)
        self.pos_embed = self._token(self.num_prefix_tokens + patches)

    def _token(self, count: int):
        return self.create_parameter([1, count, self.embed_dim], attr=init.attr(init.TruncNormal(0.02)))


class DistilledVisionTransformer(DeiT):
    """DeiT with a distillation token (section 4, figure 2).

    Tokens are [class, distillation, patches]; each of the first two has a linear head. In training
    mode the model returns both heads' logits, the second to be trained by a teacher
    (`ppdeit.Distillation`); in evaluation mode their mean, before any softmax.

    Args:
        eval_head: what evaluation returns: the `mean` of both heads, or the `class` or the
            `distillation` head alone (Table 3's last three rows).
        **kwargs: those of `ppvit.VisionTransformer`; `pool` and `representation_size` stay at
            their defaults.

    Shape:
        [B, in_chans, H, W] -> ([B, num_classes], [B, num_classes]) in training mode, [B, num_classes] in evaluation.

    Raises:
        ConfigError: an argument out of its range.
    """

    num_prefix_tokens = 2

    def __init__(self, *, eval_head: Literal["mean", "class", "distillation"] = "mean", **kwargs):
        checks.choice(self, ("mean", "class", "distillation"), eval_head=eval_head)
        if kwargs.get("pool", "token") != "token" or kwargs.get("representation_size"):
            raise ConfigError("a distilled model reads its two tokens: leave pool and representation_size out")
        super().__init__(**kwargs)
        self.eval_head = eval_head

    @property
    def tokens_read(self) -> tuple[int, ...]:
        """The tokens that evaluation's heads read."""
        return {"mean": (0, 1), "class": (0,), "distillation": (1,)}[self.eval_head]

    def _build_tokens(self) -> None:
        super()._build_tokens()
        self.dist_token = self._token(1)

    def _build_heads(self) -> None:
        super()._build_heads()
        self.head_dist = Linear(self.num_features, self.num_classes) if self.num_classes else nn.Identity()

    def add_tokens(self, x):
        """Prepends both tokens, then adds the position embedding: [B, N, D] -> [B, 2 + N, D]."""
        prefix = paddle.concat([self.cls_token, self.dist_token], axis=1).expand([x.shape[0], -1, -1])
        return paddle.concat([prefix, x.astype(prefix.dtype)], axis=1) + self.pos_embed

    def forward_heads(self, tokens) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Logits of the class and of the distillation token: [B, 2 + N, D] -> 2 x [B, num_classes]."""
        return self.head(tokens[:, 0]), self.head_dist(tokens[:, 1])

    def forward_head(self, tokens, pre_logits: bool = False):
        """Logits as `eval_head` says, [B, num_classes]; before the heads the mean of both tokens, [B, D]."""
        if pre_logits:
            return (tokens[:, 0] + tokens[:, 1]) / 2
        cls_logits, dist_logits = self.forward_heads(tokens)
        if self.eval_head == "mean":
            return (cls_logits + dist_logits) / 2
        return cls_logits if self.eval_head == "class" else dist_logits

    def forward(self, x):
        tokens = self.forward_features(x)
        return self.forward_heads(tokens) if self.training else self.forward_head(tokens)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppdeit.deployed_distilled`)."""
        from ppdeit.deployed_distilled import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        return distilled_maps()


# Builders: Table 1; keyword arguments are those of the classes above.


def deit_tiny_patch16_224(**kwargs) -> DeiT:
    """DeiT-Ti."""
    return DeiT(**{**TINY, **kwargs})


def deit_small_patch16_224(**kwargs) -> DeiT:
    """DeiT-S."""
    return DeiT(**{**SMALL, **kwargs})


def deit_base_patch16_224(**kwargs) -> DeiT:
    """DeiT-B."""
    return DeiT(**{**BASE, **kwargs})


def deit_base_patch16_384(**kwargs) -> DeiT:
    """DeiT-B at 384 px (DeiT-B↑384)."""
    return DeiT(**{**BASE, "img_size": 384, **kwargs})


def deit_tiny_distilled_patch16_224(**kwargs) -> DistilledVisionTransformer:
    """DeiT-Ti⚗."""
    return DistilledVisionTransformer(**{**TINY, **kwargs})


def deit_small_distilled_patch16_224(**kwargs) -> DistilledVisionTransformer:
    """DeiT-S⚗."""
    return DistilledVisionTransformer(**{**SMALL, **kwargs})


def deit_base_distilled_patch16_224(**kwargs) -> DistilledVisionTransformer:
    """DeiT-B⚗."""
    return DistilledVisionTransformer(**{**BASE, **kwargs})


def deit_base_distilled_patch16_384(**kwargs) -> DistilledVisionTransformer:
    """DeiT-B⚗ at 384 px (DeiT-B⚗↑384)."""
    return DistilledVisionTransformer(**{**BASE, "img_size": 384, **kwargs})
