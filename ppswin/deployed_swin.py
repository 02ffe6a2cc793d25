"""Swin as it is deployed: the same function with fewer operators.

- Tokens stay in the order of the windows. What is between two attentions treats every token alike, so that going from
  windows to shifted ones is one reordering instead of two, and leads straight from a stage's last windows through patch
  merging to the next stage's first.
- The bias and the mask of a block are one constant. The windows of an image stand beside the heads, [B, windows · heads, N, N],
  so that it is added without another shape.
- Scale and offset of a layer norm are multiplied into the layer after it, the queries' scale into their projection.
- Queries, keys and values are three products instead of one that is cut.
"""

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.deploy import ExportSpec, Stage
from ppcore.deploy.export_spec import as_it_is
from ppcore.deploy.transformer import Product, arrays
from ppcore.layers import ACTIVATIONS
from ppcore.layers.init import parameter
from ppcore.layers.patch_merging import PatchMerging
from ppcore.layers.token_order import TokenOrder
from ppcore.layers.token_windows import inverse_order
from ppcore.layers.window_attention import WindowAttention
from ppcore.model import traits
from ppswin.stage import SwinBlock
from ppswin.swin import SwinTransformer

Array = np.ndarray


def after_norm(norm: nn.LayerNorm, layer: nn.Linear) -> tuple[Array, Array]:
    """Weight [in, out] and bias [out] of a linear layer that takes what `norm` gives without its scale and offset."""
    weight, bias = arrays(layer)
    scale, offset = (value.numpy().astype("float64") for value in (norm.weight, norm.bias))
    return weight * scale[:, None], bias + offset @ weight


class Norm(nn.Layer):
    """A layer norm without scale and offset."""

    def __init__(self, norm: nn.LayerNorm):
        super().__init__()
        self.width, self.epsilon = norm.weight.shape[0], norm._epsilon

    def forward(self, x):
        return F.layer_norm(x, [self.width], epsilon=self.epsilon)


class DeployedBlock(nn.Layer):
    """A `SwinBlock` in evaluation, of tokens [B, windows · N, C] that lie in its windows' order."""

    def __init__(self, block: SwinBlock):
        super().__init__()
        attn = block.attn
        self.heads, self.head_dim, self.tokens = attn.num_heads, attn.head_dim, attn.tokens
        self.dim, self.content_term = block.dim, attn.content_term
        weight, bias = after_norm(block.norm1, attn.qkv)
        query, key, value = zip(np.split(weight, 3, axis=1), np.split(bias, 3), strict=True)
        self.query = Product(query[0] * attn.scale, query[1] * attn.scale)
        self.key, self.value = Product(*key), Product(*value)
        self.proj, self.fc2 = Product(*arrays(attn.proj)), Product(*arrays(block.mlp.fc2))
        self.norm1, self.norm2 = Norm(block.norm1), Norm(block.norm2)
        self.fc1, self.act = Product(*after_norm(block.norm2, block.mlp.fc1)), block.mlp.act
        self.windows = block.places // self.tokens
        self.added = self._added(attn.bias(), block.mask)

    def _added(self, bias, mask):
        """Bias and mask, [windows · heads, N, N], or [heads, N, N] where all windows have the same; None: nothing is added."""
        parts = [] if bias is None else [bias.numpy()]
        if mask is not None:
            parts.append(np.repeat(mask.numpy()[:, None], self.heads, axis=1))
        if not parts:
            return None
        return parameter(self, sum(parts).reshape(-1, self.tokens, self.tokens))

    def forward(self, x):
        y = self.norm1(x)
        query, key, value = (self._heads(part(y)) for part in (self.query, self.key, self.value))
        scores = paddle.matmul(query, key, transpose_y=True)
        if not self.content_term:
            scores = scores * 0
        if self.added is not None:
            scores = scores + self.added
        mixed = self._tokens(paddle.matmul(F.softmax(scores), value))
        x = x + self.proj(mixed)
        return x + self.fc2(ACTIVATIONS[self.act](self.fc1(self.norm2(x))))

    def _heads(self, x):
        """[B, windows · N, C] -> [B, windows · heads, N, d], or, where all windows have the same bias, [B · windows, heads, N, d]."""
        if self._alike():
            return x.reshape([-1, self.tokens, self.heads, self.head_dim]).transpose([0, 2, 1, 3])
        parts = x.reshape([-1, self.windows, self.tokens, self.heads, self.head_dim]).transpose([0, 1, 3, 2, 4])
        return parts.reshape([-1, self.windows * self.heads, self.tokens, self.head_dim])

    def _tokens(self, x):
        """The other way."""
        if self._alike():
            mixed = x.transpose([0, 2, 1, 3])
        else:
            mixed = x.reshape([-1, self.windows, self.heads, self.tokens, self.head_dim]).transpose([0, 1, 3, 2, 4])
        return mixed.reshape([-1, self.windows * self.tokens, self.dim])

    def _alike(self) -> bool:
        return self.added is None or self.added.shape[0] == self.heads


class DeployedMerging(nn.Layer):
    """Patch merging of tokens in one order to tokens in another: [B, H·W, C] -> [B, H/2·W/2, 2C].

    Args:
        merging: what it is made of.
        before: the order of the tokens that come in.
        after: that of those that go out.
    """

    def __init__(self, merging: PatchMerging, before: Array, after: Array):
        super().__init__()
        groups = merging.groups.order.reshape(-1, 4)[after].reshape(-1)
        self.groups, self.dim = TokenOrder(inverse_order(before, len(before))[groups], len(before)), merging.dim
        self.norm, self.reduction = Norm(merging.norm), Product(*after_norm(merging.norm, merging.reduction))

    def forward(self, x):
        return self.reduction(self.norm(self.groups(x).reshape([-1, len(self.groups.order) // 4, 4 * self.dim])))


class DeployedSwin(nn.Layer):
    """A `SwinTransformer` in evaluation, for which `is_foldable`: [B, C, H, W] -> [B, num_classes]."""

    def __init__(self, model: SwinTransformer):
        super().__init__()
        steps, order = [], np.arange(model.grid[0] * model.grid[1])
        firsts = [stage.blocks[0].partition.order for stage in model.layers[1:]]
        for stage, first in zip(model.layers, [*firsts, None], strict=True):
            for block in stage.blocks:
                if not np.array_equal(block.partition.order, order):
                    steps.append(TokenOrder(inverse_order(order, len(order))[block.partition.order], len(order)))
                    order = block.partition.order
                steps.append(DeployedBlock(block))
            if stage.downsample is not None:
                steps.append(DeployedMerging(stage.downsample, order, first))
                order = first
        self.patch_embed, self.steps, self.norm = model.patch_embed, nn.LayerList(steps), Norm(model.norm)
        position = model.absolute_pos_embed
        self.positions = None if position is None else parameter(self, position.numpy())
        self.head = Product(*after_norm(model.norm, model.head))

    def forward(self, x):
        x = self.patch_embed(x)
        if self.positions is not None:
            x = x + self.positions
        for step in self.steps:
            x = step(x)
        return self.head(self.norm(x).mean(axis=1))


def is_foldable(model: SwinTransformer) -> bool:
    """Whether a model is the library's own, has a head, and maps that are whole windows and even: nothing is padded."""
    orders = [order for block in model.blocks for order in (block.partition, block.reverse)]
    orders += [stage.downsample.groups for stage in model.layers if stage.downsample is not None]
    own = all(type(block) is SwinBlock and type(block.attn) is WindowAttention for block in model.blocks)
    return type(model) is SwinTransformer and own and model.num_classes > 0 and not any(order.pads for order in orders)


@paddle.no_grad()
def export_spec(model: SwinTransformer) -> ExportSpec:
    """The deployed form of a model with its present weights; of one that is not foldable, the model as it is."""
    model.eval()
    if not is_foldable(model):
        return as_it_is(model)
    layer = DeployedSwin(model)
    layer.eval()
    about = traits(model)
    return ExportSpec((Stage("model", layer, {"x": (None, about.in_chans, *about.img_size)}, ("logits",)),))
