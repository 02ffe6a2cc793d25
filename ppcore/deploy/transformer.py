"""Pre-norm transformer classifiers as they are deployed: the same function with fewer operations.

- What the head does not read is not computed: in the last block only the tokens it reads pass queries, projection and
  MLP (of the others keys and values alone).
- The scale of the queries is multiplied into their projection, LayerScale into the layer before it.
- Queries, keys and values are three products instead of one that is cut: engines fuse what follows without copies.
- An odd number of tokens gets one more, whose key and value nobody reads: with 197 rows OpenVINO's products run at 75 %
  of the rate they have with 198 (bfloat16, batch 1: a quarter of the whole time). It is cut off, not masked: with a mask
  OpenVINO 2026.4 computes another function in bfloat16 (logits half their size off).
"""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import ACTIVATIONS, Attention, Block, LayerScale, Mlp
from ppcore.layers.init import parameter

Array = np.ndarray


def arrays(layer: nn.Linear) -> tuple[Array, Array]:
    """Weight [in, out] and bias [out] (zero where it has none) of a linear layer, float64 for what is multiplied."""
    weight = layer.weight.numpy().astype("float64")
    bias = np.zeros(weight.shape[1]) if layer.bias is None else layer.bias.numpy().astype("float64")
    return weight, bias


class Product(nn.Layer):
    """A linear layer with given values.

    Args:
        weight: [in, out].
        bias: [out].
    """

    def __init__(self, weight: Array, bias: Array):
        super().__init__()
        self.weight, self.bias = parameter(self, weight), parameter(self, bias)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


def scaled(layer: nn.Linear, after: nn.Layer) -> Product:
    """A linear layer with the LayerScale after it, if it is one."""
    weight, bias = arrays(layer)
    factor = after.gamma.numpy().astype("float64") if isinstance(after, LayerScale) else 1.0
    return Product(weight * factor, bias * factor)


def is_foldable(block: nn.Layer) -> bool:
    """Whether a block is the library's own, from which `FoldedBlock` can be made."""
    return (
        type(block) is Block
        and type(block.attn) is Attention
        and type(block.mlp) is Mlp
        and all(type(scale) in (nn.Identity, LayerScale) for scale in (block.ls1, block.ls2))
        and all(type(norm) is nn.LayerNorm for norm in (block.norm1, block.norm2))
    )


class FoldedBlock(nn.Layer):
    """A `Block` in evaluation: tokens [B, T, D] -> [B, T, D], or [B, kept, D].

    Args:
        block: for which `is_foldable`.
        read: how many of the first tokens are attended to; None: all.
        kept: how many of the first tokens to compute; None: all.
    """

    def __init__(self, block: Block, read: int | None = None, kept: int | None = None):
        super().__init__()
        attn, self.read, self.kept = block.attn, read, kept
        self.heads, self.inner_dim = attn.num_heads, attn.inner_dim
        weight, bias = arrays(attn.qkv)
        query, key, value = zip(np.split(weight, 3, axis=1), np.split(bias, 3), strict=True)
        self.query = Product(query[0] * attn.scale, query[1] * attn.scale)
        self.key, self.value = Product(*key), Product(*value)
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.proj = scaled(attn.proj, block.ls1)
        self.fc1, self.fc2, self.act = Product(*arrays(block.mlp.fc1)), scaled(block.mlp.fc2, block.ls2), block.mlp.act

    def forward(self, x):
        y = self.norm1(x)
        key, value = self._heads(self.key(y)), self._heads(self.value(y))  # [B, H, T, d]
        if self.read is not None:
            key, value = key[:, :, : self.read], value[:, :, : self.read]
        if self.kept is not None:
            x, y = x[:, : self.kept], y[:, : self.kept]
        weights = paddle.matmul(self._heads(self.query(y)), key, transpose_y=True)  # [B, H, kept, T]
        mixed = paddle.matmul(F.softmax(weights), value).transpose([0, 2, 1, 3])  # [B, kept, H, d]
        x = x + self.proj(mixed.reshape([0, 0, self.inner_dim]))
        return x + self.fc2(ACTIVATIONS[self.act](self.fc1(self.norm2(x))))

    def _heads(self, x):
        return x.reshape([0, 0, self.heads, self.inner_dim // self.heads]).transpose([0, 2, 1, 3])


class FoldedTransformer(nn.Layer):
    """Patches, tokens before them, positions, blocks, norm and head, in evaluation: [B, C, H, W] -> [B, K].

    Args:
        embed: images [B, C, H, W] -> patches [B, N, D].
        prefix: tokens before the patches, their positions added, [P, D].
        positions: added to the patches, [N, D].
        blocks: for each of which `is_foldable`.
        norm: after the blocks.
        head: tokens [B, kept, D] -> what the model returns.
        kept: how many of the first P + N tokens the head reads.
    """

    def __init__(
        self,
        *,
        embed: nn.Layer,
        prefix: Array,
        positions: Array,
        blocks: Sequence[Block],
        norm: nn.LayerNorm,
        head: nn.Layer,
        kept: int,
    ):
        super().__init__()
        self.embed, self.norm, self.head = embed, norm, head
        tokens = len(prefix) + len(positions)
        self.prefix, self.positions = parameter(self, prefix[None]), parameter(self, positions[None])
        odd = bool(tokens % 2)
        self.extra = parameter(self, np.zeros((1, 1, prefix.shape[1]))) if odd else None
        *first, last = blocks
        read = tokens if odd else None
        self.blocks = nn.LayerList([*(FoldedBlock(block, read) for block in first), FoldedBlock(last, read, kept)])

    def forward(self, x):
        x = self.embed(x) + self.positions
        parts = [part.expand([x.shape[0], -1, -1]) for part in (self.prefix, self.extra) if part is not None]
        x = paddle.concat([parts[0], x, *parts[1:]], axis=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
