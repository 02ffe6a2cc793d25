"""Pre-norm transformer encoder block."""

import paddle.nn as nn

from ppcore.layers import checks
from ppcore.layers.attention import Attention
from ppcore.layers.drop_path import DropPath
from ppcore.layers.layer_scale import LayerScale
from ppcore.layers.mlp import Activation, Mlp


class Block(nn.Layer):
    """x + DropPath(LS(MSA(LN(x)))), then the same with the MLP (ViT eq. 2-3; LayerScale: CaiT eq. 4).

    Args:
        dim: channels.
        num_heads: heads.
        mlp_dim: hidden channels of the MLP.
        head_dim: channels a head, `dim // num_heads` when None.
        qkv_bias: bias of the fused qkv projection.
        act: activation of the MLP.
        norm_eps: epsilon of the layer norms (1e-6 in both Google's code and timm).
        drop: dropout after the projection and both MLP layers.
        attn_drop: dropout on the attention map.
        drop_path: stochastic-depth rate of both branches.
        layer_scale_init: initial LayerScale value; None builds no LayerScale.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_dim: int,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        act: Activation = "gelu",
        norm_eps: float = 1e-6,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        layer_scale_init: float | None = None,
    ):
        super().__init__()
        checks.whole(self, 1, dim=dim, num_heads=num_heads, mlp_dim=mlp_dim)
        checks.epsilon(self, norm_eps=norm_eps)

        def scale() -> nn.Layer:
            return nn.Identity() if layer_scale_init is None else LayerScale(dim, layer_scale_init)

        self.norm1 = nn.LayerNorm(dim, epsilon=norm_eps)
        self.attn = Attention(dim, num_heads, head_dim=head_dim, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=drop)
        self.ls1 = scale()
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, epsilon=norm_eps)
        self.mlp = Mlp(dim, mlp_dim, act=act, drop=drop)
        self.ls2 = scale()
        self.drop_path2 = DropPath(drop_path)

    def forward(self, x):  # [B, N, D]
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
