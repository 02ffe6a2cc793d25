"""Four neighbours become one token (Swin, section 3.1)."""

import numpy as np
import paddle.nn as nn

from ppcore.layers.layer_norm import LayerNorm
from ppcore.layers.linear import Linear
from ppcore.layers.token_order import TokenOrder


def merged(grid: tuple[int, int]) -> tuple[int, int]:
    """The grid after merging; an odd side is padded."""
    return -(-grid[0] // 2), -(-grid[1] // 2)


def merging_order(grid: tuple[int, int]) -> np.ndarray:
    """Tokens of each 2 × 2 group, int64 [4 · groups]: (row, column) offsets (0, 0), (1, 0), (0, 1), (1, 1); H·W is padding.

    The row changes fastest. OpenMMLab's `nn.Unfold` has another order, and its weights must be permuted.
    """
    (height, width), (tall, wide) = grid, merged(grid)
    tokens = np.arange(height * width).reshape(height, width)
    tokens = np.pad(tokens, ((0, 2 * tall - height), (0, 2 * wide - width)), constant_values=height * width)
    return tokens.reshape(tall, 2, wide, 2).transpose(0, 2, 3, 1).reshape(-1)


class PatchMerging(nn.Layer):
    """Concatenates the channels of 2 × 2 neighbours, normalises, and halves them by a linear layer without bias.

    Args:
        dim: channels in; 2·dim come out.
        grid: (down, across) of the map; an odd side is padded with zeros at the bottom or right.
        norm_eps: epsilon of the layer norm.

    Shape:
        [B, H·W, C] -> [B, H/2·W/2, 2C].
    """

    def __init__(self, dim: int, grid: tuple[int, int], *, norm_eps: float = 1e-5):
        super().__init__()
        self.dim = dim
        self.groups = TokenOrder(merging_order(grid), grid[0] * grid[1])
        self.norm = LayerNorm(4 * dim, epsilon=norm_eps)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        x = self.groups(x).reshape([0, -1, 4 * self.dim])
        return self.reduction(self.norm(x))
