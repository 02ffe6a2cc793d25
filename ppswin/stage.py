"""A stage of a Swin Transformer: blocks in plain and shifted windows, and patch merging (section 3.1, 3.2).

A map is its tokens [B, H·W, C], row by row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import DropPath, Mlp
from ppcore.layers.layer_norm import LayerNorm
from ppcore.layers.patch_merging import PatchMerging
from ppcore.layers.token_order import TokenOrder
from ppcore.layers.token_windows import WindowRule, inverse_order, padded, shift_mask, window_and_shift, window_order
from ppcore.layers.window_attention import WindowAttention

Pair = tuple[int, int]


class SwinBlock(nn.Layer):
    """x + DropPath((S)W-MSA(LN(x))), then the same with the MLP (eq. 3).

    Args:
        dim: channels.
        num_heads: heads.
        grid: (down, across) of the map.
        window: (down, across) of a window.
        shift: (down, across) by which the map is rolled; (0, 0) is W-MSA.
        pad_first: whether a map that is not a whole number of windows is padded before it is rolled.
        mask: of the shifted scores, [windows, N, N], shared by the blocks of a stage; None without a shift.
        mlp_dim: hidden channels of the MLP.
        drop: dropout after the projection and both MLP layers.
        drop_path: stochastic-depth rate of both branches.
        norm_eps: epsilon of the layer norms.
        attention: further arguments of `WindowAttention`.

    Shape:
        [B, H·W, C] -> the same.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        grid: Pair,
        window: Pair,
        shift: Pair,
        pad_first: bool,
        mask: paddle.Tensor | None,
        mlp_dim: int,
        drop: float,
        drop_path: float,
        norm_eps: float,
        attention: Mapping[str, Any],
    ):
        super().__init__()
        self.grid, self.window, self.shift = grid, window, shift
        size, order = grid[0] * grid[1], window_order(grid, window, shift, pad_first=pad_first)
        self.dim, self.places = dim, len(order)
        self.partition, self.reverse = TokenOrder(order, size), TokenOrder(inverse_order(order, size), len(order))
        self.register_buffer("mask", mask, persistable=False)
        self.norm1 = LayerNorm(dim, epsilon=norm_eps)
        self.attn = WindowAttention(dim, num_heads, window, proj_drop=drop, **attention)
        self.drop_path = DropPath(drop_path)
        self.norm2 = LayerNorm(dim, epsilon=norm_eps)
        self.mlp = Mlp(dim, mlp_dim, drop=drop)

    def windows(self, tokens):
        """Rolled, padded and cut: [B, H·W, C] -> [B · windows, N, C]."""
        return self.partition(tokens).reshape([-1, self.attn.tokens, self.dim])

    def attend(self, tokens):
        """(S)W-MSA of the tokens after `norm1`, [B, H·W, C]."""
        mixed = self.attn(self.windows(tokens), self.mask)
        return self.reverse(mixed.reshape([-1, self.places, self.dim]))

    def forward(self, x):
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stage(nn.Layer):
    """Blocks of one resolution, then, in every stage but the last, patch merging.

    Args:
        dim: channels.
        grid: (down, across) of the map.
        merges: whether patch merging follows.
        num_heads: heads.
        window: side of the windows that is asked for.
        rule: as `window_rule` of the model.
        shifted: whether every other block is shifted.
        drop_paths: stochastic-depth rate of each block.
        norm_eps: epsilon of the layer norms.
        block: further arguments of `SwinBlock`.

    Raises:
        ConfigError: under the rule `official`, a map that is not a whole number of windows or that cannot be halved.
    """

    def __init__(
        self,
        dim: int,
        grid: Pair,
        *,
        merges: bool,
        num_heads: int,
        window: int,
        rule: WindowRule,
        shifted: bool,
        drop_paths: Sequence[float],
        norm_eps: float,
        block: Mapping[str, Any],
    ):
        super().__init__()
        sides, shift = window_and_shift(grid, window, rule)
        if rule == "official":
            _refuse(grid, sides, merges)
        self.grid = grid
        shift = shift if shifted else (0, 0)
        mask = shift_mask(grid, sides, shift)
        mask = None if mask is None else paddle.to_tensor(mask)
        self.blocks = nn.LayerList(
            SwinBlock(
                dim,
                num_heads,
                grid=grid,
                window=sides,
                shift=shift if i % 2 else (0, 0),
                pad_first=rule != "timm",
                mask=mask if i % 2 else None,
                drop_path=rate,
                norm_eps=norm_eps,
                **block,
            )
            for i, rate in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(dim, grid, norm_eps=norm_eps) if merges else None

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


def _refuse(grid: Pair, window: Pair, merges: bool) -> None:
    """Swin's classification code takes whole windows and, before patch merging, even sides."""
    (height, width), how = grid, "choose another img_size, or window_rule='timm' or 'detection', which pad"
    if padded(grid, window) != grid:
        raise ConfigError(f"a stage's map of {height}x{width} tokens is not whole windows of {window[0]}: {how}")
    if merges and (height % 2 or width % 2):
        raise ConfigError(f"a stage's map of {height}x{width} tokens cannot be halved: {how}")
