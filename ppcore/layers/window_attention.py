"""Multi-head self-attention in windows, with a bias for each relative position."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks, init
from ppcore.layers.linear import Linear
from ppcore.layers.relative_bias import relative_position_index
from ppcore.layers.token_order import TokenOrder


class WindowAttention(nn.Layer):
    """Self-attention within each window (Swin, section 3.2, eq. 4): softmax(q·k / √d + bias + mask) v.

    Measured on one core with AVX-512, Paddle 3.3.1, forward and backward of what is between the projections, without and
    with a mask, for 512 windows of 49 tokens with 3 heads of 32 (32 windows with 12 heads): queries, keys and values split and
    each transposed 47.9 and 52.0 ms (11.0 and 11.9); transposed once, then split along the heads, used here, 44.6 and 48.9
    (9.9 and 10.7); transposed to [3, …] and indexed, as PaddleClas does, 50.0 and 54.9 (10.8 and 11.6); a loop over heads, the
    fastest in `ppcore.layers.Attention`, whose products are larger, 52.3 and 56.4 (16.1 and 17.3). The softmax takes 10 of the 48.

    Args:
        dim: channels in and out.
        num_heads: heads.
        window: (down, across) tokens of a window.
        qkv_bias: whether the fused projection has a bias.
        qk_scale: factor of q; None: head_dim^-1/2.
        attn_drop: dropout rate on the attention map.
        proj_drop: dropout rate after the output projection.
        relative_bias: whether there is a bias; False is the row "no pos." of Table 4.
        content_term: whether the scores have q·k; False, bias alone, is the row "rel. pos. w/o app." of Table 4.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: tuple[int, int],
        *,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        relative_bias: bool = True,
        content_term: bool = True,
    ):
        super().__init__()
        checks.whole(self, 1, dim=dim, num_heads=num_heads)
        checks.size(self, window=window)
        checks.heads(self, embed_dim=dim, num_heads=num_heads, head_dim=None)
        checks.rate(self, attn_drop=attn_drop, proj_drop=proj_drop)
        checks.flag(self, qkv_bias=qkv_bias, relative_bias=relative_bias, content_term=content_term)
        if qk_scale is not None:
            checks.positive(self, qk_scale=qk_scale)
        if not (relative_bias or content_term):
            checks.fail(self, "content_term", content_term, "true where there is no relative bias")
        self.num_heads, self.head_dim, self.window = num_heads, dim // num_heads, tuple(window)
        self.scale = self.head_dim**-0.5 if qk_scale is None else qk_scale
        self.content_term = content_term
        self.tokens = window[0] * window[1]
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.relative_position_bias_table = None
        if relative_bias:
            rows = (2 * window[0] - 1) * (2 * window[1] - 1)
            self.relative_position_bias_table = self.create_parameter(
                [rows, num_heads], attr=init.attr(init.TruncNormal(0.02))
            )
            self.pairs = TokenOrder(relative_position_index(self.window).reshape(-1), rows)
        self.attn_drop = attn_drop
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x, mask=None):
        """[B · windows, N, C] -> the same.

        Args:
            x: windows of an image one after another.
            mask: [windows, N, N], added to the scores of each image's windows; or None.
        """
        q, k, v = self._heads(self.qkv(x))
        weights = self._weights(q, k, mask)
        if self.attn_drop:
            weights = F.dropout(weights, self.attn_drop, training=self.training)
        mixed = paddle.matmul(weights, v).transpose([0, 2, 1, 3])  # [B·windows, N, heads, d]
        return self.proj_drop(self.proj(mixed.reshape([0, 0, self.num_heads * self.head_dim])))

    def attention_map(self, x, mask=None) -> paddle.Tensor:
        """The softmax map [B · windows, heads, N, N] of windows [B · windows, N, C] (after the block's first norm)."""
        q, k, _ = self._heads(self.qkv(x))
        return self._weights(q, k, mask)

    def bias(self) -> paddle.Tensor | None:
        """The bias of each pair, [heads, N, N]; None where there is none.

        Gathered at each call: kept, it would miss a change of the weights.
        """
        if self.relative_position_bias_table is None:
            return None
        of_pairs = self.pairs(self.relative_position_bias_table.unsqueeze(0))[0]  # [N·N, heads]
        return of_pairs.transpose([1, 0]).reshape([self.num_heads, self.tokens, self.tokens])

    def _heads(self, qkv):
        heads = qkv.reshape([0, 0, 3 * self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])
        return paddle.split(heads, 3, axis=1)  # each [B·windows, heads, N, d]

    def _weights(self, q, k, mask):
        heads, count = self.num_heads, self.tokens
        scores = paddle.matmul(q * self.scale, k, transpose_y=True)  # [B·windows, heads, N, N]
        if not self.content_term:
            scores = paddle.zeros_like(scores)
        bias = self.bias()
        if mask is not None:  # mask and bias are added to each other first: they are small, the scores are not
            bias = mask.unsqueeze(1) if bias is None else bias + mask.unsqueeze(1)  # [windows, heads or 1, N, N]
            scores = scores.reshape([-1, mask.shape[0], heads, count, count]) + bias.astype(scores.dtype)
            scores = scores.reshape([-1, heads, count, count])
        elif bias is not None:
            scores = scores + bias.astype(scores.dtype)
        return F.softmax(scores)
