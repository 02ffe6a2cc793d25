"""HiLo attention (Pan, Cai and Zhuang 2022, "Fast Vision Transformers with HiLo Attention", arXiv 2205.13213).

Some heads attend within small windows (Hi-Fi, high frequencies); the others let every position attend to the averages of
the windows (Lo-Fi, low frequencies). The two groups' outputs stand side by side: nothing mixes them before the block's MLP.
"""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import Linear, checks
from pplit import multiply_adds
from pplit.zero_border import with_zeros


class HiLo(nn.Layer):
    """HiLo attention of a map of any height and width.

    A map that is not whole windows is padded with zeros at its bottom and right before the projections, and the result cut
    back (the authors' code for segmentation and detection; that for classification refuses such maps, or, at `alpha` 1,
    leaves the last rows and columns out of the averages). Padded positions are keys like others. There is no position
    embedding. Parameters have the authors' names.

    Args:
        dim: channels in and out.
        num_heads: heads of both groups.
        window_size: side s of a window. 1 leaves nothing to Hi-Fi: all heads are Lo-Fi over every position, that is
            plain self-attention, whatever `alpha`.
        alpha: share of the heads that are Lo-Fi, rounded down: `int(num_heads * alpha)`. 0: all are Hi-Fi.
        qkv_bias: bias of the projections to queries, keys and values; output projections always have one.
        qk_scale: factor of the products of queries and keys; `head_dim` ** -0.5 when None.

    Shape:
        [B, H, W, dim], or [B, H·W, dim] with `height` and `width` -> the same.
        Channels out: Hi-Fi's heads, then Lo-Fi's.

    Raises:
        ConfigError: an argument out of its range; in `forward`, positions that are not height · width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        *,
        window_size: int = 2,
        alpha: float = 0.5,
        qkv_bias: bool = False,
        qk_scale: float | None = None,
    ):
        super().__init__()
        checks.whole(self, 1, dim=dim, num_heads=num_heads, window_size=window_size)
        checks.heads(self, embed_dim=dim, num_heads=num_heads, head_dim=None)
        checks.number(self, alpha=alpha)
        if not 0 <= alpha <= 1:
            checks.fail(self, "alpha", alpha, "a number from 0 to 1")
        checks.flag(self, qkv_bias=qkv_bias)
        if qk_scale is not None:
            checks.positive(self, qk_scale=qk_scale)
        self.dim, self.window_size, self.head_dim = dim, window_size, dim // num_heads
        self.l_heads = num_heads if window_size == 1 else int(num_heads * alpha)
        self.h_heads = num_heads - self.l_heads
        self.l_dim, self.h_dim = self.l_heads * self.head_dim, self.h_heads * self.head_dim
        self.scale = qk_scale or self.head_dim**-0.5
        if self.l_heads:
            self.l_q = Linear(dim, self.l_dim, bias=qkv_bias)
            self.l_kv = Linear(dim, 2 * self.l_dim, bias=qkv_bias)
            self.l_proj = Linear(self.l_dim, self.l_dim)
        if self.h_heads:
            self.h_qkv = Linear(dim, 3 * self.h_dim, bias=qkv_bias)
            self.h_proj = Linear(self.h_dim, self.h_dim)

    def forward(self, x, height: int | None = None, width: int | None = None):
        grid = x if x.ndim == 4 else as_map(x, height, width)
        paths = [path for path in self.paths(grid) if path is not None]
        return paddle.concat(paths, axis=-1).reshape([-1, *x.shape[1:]])

    def paths(self, x) -> tuple[paddle.Tensor | None, paddle.Tensor | None]:
        """What Hi-Fi [B, H, W, h_dim] and Lo-Fi [B, H, W, l_dim] give for a map [B, H, W, dim]; None of one without heads."""
        height, width = x.shape[1:3]
        x = self._whole_windows(x)
        high = self._hi_fi(x)[0][:, :height, :width] if self.h_heads else None
        low = self._lo_fi(x)[0][:, :height, :width] if self.l_heads else None
        return high, low

    def attention_maps(self, x) -> tuple[paddle.Tensor | None, paddle.Tensor | None]:
        """Softmax maps for a map [B, H, W, dim], padded to whole windows; None of a path without heads.

        Returns:
            Hi-Fi's [B, windows, h_heads, s², s²] and Lo-Fi's [B, l_heads, H·W, windows]; windows and positions row by row.
        """
        x = self._whole_windows(x)
        windows = x.shape[1] * x.shape[2] // self.window_size**2
        high = self._hi_fi(x)[1] if self.h_heads else None
        return (
            None if high is None else high.reshape([-1, windows, *high.shape[1:]]),
            self._lo_fi(x)[1] if self.l_heads else None,
        )

    def flops(self, height: int, width: int) -> int:
        """Multiply-adds for a map of one image, as the authors count them (`pplit.multiply_adds`)."""
        return multiply_adds.hilo(self, height, width)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from pplit.litv2_layout import weight_maps

        return weight_maps()

    def extra_repr(self):
        return f"dim={self.dim}, h_heads={self.h_heads}, l_heads={self.l_heads}, window_size={self.window_size}"

    def _whole_windows(self, x):
        down, across = (-size % self.window_size for size in x.shape[1:3])
        return with_zeros(x, below=down, right=across)

    def _attend(self, q, k, v):
        """Three times [M, heads, ·, d] -> the mixture of v and the softmax map."""
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True) * self.scale)
        return paddle.matmul(weights, v), weights

    def _hi_fi(self, x):
        height, width = x.shape[1:3]
        s, across, heads, d = self.window_size, width // self.window_size, self.h_heads, self.head_dim
        rows = self.h_qkv(x).reshape(
            [-1, s, across, s, 3 * heads, d]
        )  # a row of windows: [B·H/s, s, W/s, s, 3·heads, d]
        windows = rows.transpose([0, 2, 4, 1, 3, 5]).reshape([-1, 3 * heads, s * s, d])
        mixed, weights = self._attend(*paddle.split(windows, 3, axis=1))  # [B·windows, heads, s², d]
        mixed = mixed.reshape([-1, across, heads, s, s, d]).transpose([0, 3, 1, 4, 2, 5])
        return self.h_proj(mixed.reshape([-1, height, width, self.h_dim])), weights

    def _lo_fi(self, x):
        height, width = x.shape[1:3]
        s, heads, d = self.window_size, self.l_heads, self.head_dim
        keys = height * width // (s * s)
        pooled = x if s == 1 else x.reshape([-1, s, width // s, s, self.dim]).mean(axis=[1, 3])
        kv = self.l_kv(pooled.reshape([-1, keys, self.dim])).reshape([-1, keys, 2 * heads, d]).transpose([0, 2, 1, 3])
        q = self.l_q(x).reshape([-1, height * width, heads, d]).transpose([0, 2, 1, 3])
        mixed, weights = self._attend(q, *paddle.split(kv, 2, axis=1))  # [B, heads, H·W, d]
        return self.l_proj(mixed.transpose([0, 2, 1, 3]).reshape([-1, height, width, self.l_dim])), weights


def as_map(tokens: paddle.Tensor, height: int | None, width: int | None) -> paddle.Tensor:
    """[B, N, C] -> [B, height, width, C].

    Raises:
        ConfigError: other than height · width positions.
    """
    if tokens.ndim != 3 or height is None or width is None or tokens.shape[1] not in (height * width, -1):
        raise ConfigError(
            f"HiLo: got {list(tokens.shape)} with height {height} and width {width}: "
            "give a map [B, H, W, C], or [B, H·W, C] and both"
        )
    return tokens.reshape([-1, height, width, tokens.shape[2]])
