"""LITv2 (Pan, Cai and Zhuang 2022, "Fast Vision Transformers with HiLo Attention", arXiv 2205.13213).

The paper in one file: blocks, stages, the model, its builders. Four stages, between which deformable token merging halves
height and width and doubles the channels. The first two have MLPs alone, the third HiLo, the fourth full attention.
Parameter names are the authors', but for two (`pplit.litv2_layout`).
"""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import DropPath, PatchEmbed, checks, drop_path_rates
from ppcore.layers.layer_norm import LayerNorm
from ppcore.layers.staged_classifier import StagedClassifier
from pplit import multiply_adds
from pplit.conv_ffn import ConvFFN
from pplit.hilo import HiLo
from pplit.token_merging import TokenMerging


class NormedPatches(PatchEmbed):
    """Patches of an image of any whole number of them, projected, then layer norm: [B, C, H, W] -> [B, h, w, embed_dim]."""

    def __init__(self, img_size, patch_size, in_chans: int, embed_dim: int):
        super().__init__(img_size, patch_size, in_chans, embed_dim)
        self.norm = LayerNorm(embed_dim, epsilon=1e-5)

    def forward(self, x):
        return self.norm(self.proj(x).transpose([0, 2, 3, 1]))


class Block(nn.Layer):
    """x + DropPath(HiLo(LN(x))), where there is attention, then x + DropPath(ConvFFN(LN(x))): [B, H, W, dim] -> the same.

    Args:
        dim: channels.
        attn: the attention; None: an MLP alone.
        hidden_dim: channels inside the MLP.
        drop_path: stochastic-depth rate of both branches.
    """

    def __init__(self, dim: int, attn: HiLo | None, hidden_dim: int, drop_path: float = 0.0):
        super().__init__()
        self.attn = attn
        if attn is not None:
            self.norm1 = LayerNorm(dim, epsilon=1e-5)
        self.norm2 = LayerNorm(dim, epsilon=1e-5)
        self.mlp = ConvFFN(dim, hidden_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        if self.attn is not None:
            x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stage(nn.Layer):
    """Blocks, and what leads to the next stage (None: it is the last)."""

    def __init__(self, blocks: Sequence[Block], downsample: TokenMerging | None):
        super().__init__()
        self.blocks = nn.LayerList(blocks)
        self.downsample = downsample


class LITv2(StagedClassifier):
    """LITv2.

    Nothing in it depends on the image's size: it takes every height and width that are multiples of
    `patch_size · 2 ** (stages - 1)`, 32 for the published models; `img_size` is what an export takes.

    Args:
        img_size: height and width in pixels, one number or (h, w).
        patch_size: patch height and width in pixels, one number or (h, w).
        in_chans: input channels.
        num_classes: classes of the head; 0 builds no head and `forward` returns the pooled features.
        embed_dim: channels of the first stage.
        depths: blocks of each stage.
        num_heads: heads of each stage; of one without attention it is not used.
        local_ws: window of each stage's HiLo; 1: full attention; 0: none, its blocks are MLPs alone.
        alpha: share of low-frequency heads, of `pplit.HiLo`. The published models have 0.9.
        mlp_ratio: hidden channels of an MLP over the stage's.
        qkv_bias: bias of the projections to queries, keys and values.
        qk_scale: of `pplit.HiLo`.
        drop_path_rate: stochastic depth, rising linearly from 0 over all blocks.

    Shape:
        [B, in_chans, H, W] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range, lists of unequal length, or an image of another size than a multiple.
    """

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 224,
        patch_size: int | Sequence[int] = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        local_ws: Sequence[int] = (0, 0, 2, 1),
        alpha: float = 0.9,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        checks.wholes(self, 1, depths=depths, num_heads=num_heads)
        checks.wholes(self, 0, local_ws=local_ws)
        checks.positive(self, mlp_ratio=mlp_ratio)
        checks.whole(self, 0, num_classes=num_classes)
        checks.rate(self, drop_path_rate=drop_path_rate)
        if not len(depths) == len(num_heads) == len(local_ws) > 0:
            raise ConfigError(
                "LITv2: depths, num_heads and local_ws give one value a stage, "
                f"not {len(depths)}, {len(num_heads)} and {len(local_ws)}"
            )
        self.patch_embed = NormedPatches(img_size, patch_size, in_chans, embed_dim)
        self.embed_dim, self.num_classes = embed_dim, num_classes
        self.num_features = embed_dim * 2 ** (len(depths) - 1)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        attention = dict(alpha=alpha, qkv_bias=qkv_bias, qk_scale=qk_scale)

        def block(i: int) -> Block:
            dim, window = embed_dim * 2**i, local_ws[i]
            attn = HiLo(dim, num_heads[i], window_size=window, **attention) if window else None
            return Block(dim, attn, int(dim * mlp_ratio), next(rates))

        last = len(depths) - 1
        self.layers = nn.LayerList(
            Stage([block(i) for _ in range(depth)], TokenMerging(embed_dim * 2**i) if i < last else None)
            for i, depth in enumerate(depths)
        )
        self.check_size(*self.patch_embed.img_size)
        self.norm = LayerNorm(self.num_features, epsilon=1e-5)
        self.build_head()

    def check_size(self, height: int, width: int) -> None:
        """Raises ConfigError for an image that token merging cannot halve often enough; -1 is a size not known."""
        down, across = (side * 2 ** (len(self.layers) - 1) for side in self.patch_embed.patch_size)
        if (height % down and height != -1) or (width % across and width != -1):
            raise ConfigError(
                f"LITv2 halves its patches {len(self.layers) - 1} times and got {height}x{width}: "
                f"height must be a multiple of {down} and width of {across}"
            )

    def forward_features(self, x):
        """The map after the final norm: [B, C, H, W] -> [B, H/32, W/32, num_features]."""
        self.check_size(*x.shape[2:])
        x = self.patch_embed(x)
        for stage in self.layers:
            for block in stage.blocks:
                x = block(x)
            x = x if stage.downsample is None else stage.downsample(x)
        return self.norm(x)

    def forward_intermediates(self, x) -> dict[str, paddle.Tensor]:
        """Every stage by name.

        Returns:
            `patch_embed` [B, h, w, C]; `stage_0`, …, the last block of a stage, before token merging; `merging_1`, …, what
            enters stage 1, …; `norm`; `pre_logits` [B, num_features]; `logits` [B, num_classes].
        """
        self.check_size(*x.shape[2:])
        x = self.patch_embed(x)
        stages = {"patch_embed": x}
        for i, stage in enumerate(self.layers):
            for block in stage.blocks:
                x = block(x)
            stages[f"stage_{i}"] = x
            if stage.downsample is not None:
                x = stages[f"merging_{i + 1}"] = stage.downsample(x)
        stages["norm"] = self.norm(x)
        stages["pre_logits"] = self.forward_head(stages["norm"], pre_logits=True)
        stages["logits"] = self.forward_head(stages["norm"])
        return stages

    def flops(self, height: int | None = None, width: int | None = None) -> int:
        """Multiply-adds for one image, of `img_size` where no size is given, as the authors count them (`pplit.multiply_adds`)."""
        size = self.patch_embed.img_size
        return multiply_adds.litv2(self, height or size[0], width or size[1])

    def attention_rollout(self, x) -> np.ndarray:
        """How much of each patch reaches the mean that the head reads: [B, C, H, W] -> [B, rows, columns]."""
        from pplit.hilo_rollout import attention_rollout

        return attention_rollout(self, x)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`pplit.litv2_deploy`)."""
        from pplit.litv2_deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from pplit.litv2_layout import weight_maps

        return weight_maps()


# Builders: the paper's Table 1; keyword arguments are those of `LITv2`.

MEDIUM = dict(depths=(2, 2, 18, 2))
BASE = dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))


def litv2_small(**kwargs) -> LITv2:
    """LITv2-S: 27,844,000 parameters."""
    return LITv2(**kwargs)


def litv2_medium(**kwargs) -> LITv2:
    """LITv2-M: 48,830,368 parameters."""
    return LITv2(**{**MEDIUM, **kwargs})


def litv2_base(**kwargs) -> LITv2:
    """LITv2-B: 86,520,704 parameters."""
    return LITv2(**{**BASE, **kwargs})


def litv2_base_384(**kwargs) -> LITv2:
    """LITv2-B at 384 px (LITv2-B↑384)."""
    return LITv2(**{**BASE, "img_size": 384, **kwargs})
