"""Multi-head self-attention."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks
from ppcore.layers.linear import Linear


def flash_attention_runs() -> bool:
    """Whether the current GPU runs flash attention."""
    return tuple(paddle.device.cuda.get_device_capability()) >= (8, 0)


class Attention(nn.Layer):
    """Multi-head self-attention (Vaswani et al. 2017; ViT, appendix A, eq. 5-8).

    One fused `qkv` projection (out axis ordered q, k, v, each heads × head_dim), q scaled by
    head_dim^-1/2 before the product.

    Three forms of the same function, chosen by where it runs (measured, forward + backward of
    16 × 197 × 192 with 3 heads on 2 AVX2 cores, Paddle 3.3.1 with its default flags: stacked qkv
    indexed as PaddleClas does 183 ms, split and transposed 123 ms, a loop over heads 54 ms):
      * eager on CPU: a loop over heads on slices of the last axis. Nothing is transposed, so
        nothing goes through Paddle's generic strided copy, which costs more than the products.
        (With `FLAGS_use_stride_kernel=0`, as `ppcore.runtime` sets, the three are 112, 70 and 45.)
      * eager on GPU in half precision: `scaled_dot_product_attention`, Paddle's flash attention,
        where the card runs it (compute capability 8.0 and newer; Paddle 2.6 refuses it below).
      * elsewhere (other GPUs, GPU float32, static graph, export): the transposed form, which
        inference runtimes recognise and fuse.

    Args:
        dim: channels in and out.
        num_heads: heads.
        head_dim: channels a head, `dim // num_heads` when None.
        qkv_bias: whether the fused projection has a bias.
        attn_drop: dropout rate on the attention map.
        proj_drop: dropout rate after the output projection.

    Raises:
        ConfigError: an argument out of its range; `dim` is not divisible by `num_heads` and no `head_dim` is given.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ):
        super().__init__()
        checks.whole(self, 1, dim=dim, num_heads=num_heads)
        checks.whole(self, 1, optional=True, head_dim=head_dim)
        checks.heads(self, embed_dim=dim, num_heads=num_heads, head_dim=head_dim)
        checks.rate(self, attn_drop=attn_drop, proj_drop=proj_drop)
        checks.flag(self, qkv_bias=qkv_bias)
        self.num_heads = num_heads
        self.head_dim = head_dim or dim // num_heads
        self.scale = self.head_dim**-0.5
        self.inner_dim = self.num_heads * self.head_dim
        self.qkv = Linear(dim, 3 * self.inner_dim, bias=qkv_bias)
        self.attn_drop = attn_drop
        self.proj = Linear(self.inner_dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x):
        qkv = self.qkv(x)  # [B, N, 3·H·d]
        if not paddle.in_dynamic_mode():
            mixed = self._transposed(qkv)
        elif x.place.is_cpu_place():
            mixed = self._loop(qkv)
        elif qkv.dtype in (paddle.float16, paddle.bfloat16) and flash_attention_runs():
            mixed = self._flash(qkv)
        else:
            mixed = self._transposed(qkv)
        return self.proj_drop(self.proj(mixed))

    def attention_map(self, x) -> paddle.Tensor:
        """The softmax map [B, H, N, N] for tokens `x` [B, N, D] (after the block's first norm)."""
        q, k, _ = self._heads(self.qkv(x))
        return F.softmax(paddle.matmul(q * self.scale, k, transpose_y=True))

    def _dropped(self, weights):
        return F.dropout(weights, self.attn_drop, training=self.training) if self.attn_drop else weights

    def _heads(self, qkv):
        shape = [0, 0, self.num_heads, self.head_dim]  # 0 keeps the axis, whatever its length
        return [part.reshape(shape).transpose([0, 2, 1, 3]) for part in paddle.split(qkv, 3, axis=-1)]

    def _transposed(self, qkv):
        q, k, v = self._heads(qkv)  # each [B, H, N, d]
        weights = F.softmax(paddle.matmul(q * self.scale, k, transpose_y=True))  # [B, H, N, N]
        mixed = paddle.matmul(self._dropped(weights), v).transpose([0, 2, 1, 3])  # [B, N, H, d]
        return mixed.reshape([0, 0, self.inner_dim])

    def _loop(self, qkv):
        heads = self.num_heads
        parts = paddle.split(qkv, 3 * heads, axis=-1)  # q of each head, then k, then v: [B, N, d]
        mixed = []
        for head in range(heads):
            q, k, v = parts[head], parts[heads + head], parts[2 * heads + head]
            weights = F.softmax(paddle.matmul(q * self.scale, k, transpose_y=True))  # [B, N, N]
            mixed.append(paddle.matmul(self._dropped(weights), v))
        return paddle.concat(mixed, axis=-1)  # [B, N, H·d]

    def _flash(self, qkv):
        shape = [0, 0, self.num_heads, self.head_dim]
        q, k, v = (part.reshape(shape) for part in paddle.split(qkv, 3, axis=-1))  # [B, N, H, d]
        drop = self.attn_drop if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, training=self.training)
        return mixed.reshape([0, 0, self.inner_dim])
