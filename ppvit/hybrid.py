"""Hybrids: a weight-standardised ResNet before the transformer (ViT §3.1 and appendix B.2).

The ResNet is BiT's with group norm, in its post-activation form; the transformer reads its last
feature map, cut into patches of one pixel (R26, R50) or eight (the stem-only R+Ti/16).
"""

from collections.abc import Sequence

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import check_input, checks, init
from ppcore.layers.std_conv import GROUP_NORM_EPS, ConvNorm, StdConv2D, group_norm, same_size
from ppvit.builders import BASE, LARGE, SMALL, TINY, build
from ppvit.vit import EmbedLayer, VisionTransformer

STEM_WIDTH = 64
STAGE_WIDTHS = (256, 512, 1024, 2048)  # out channels; a unit's inner width is a quarter


class Downsample(nn.Layer):
    """1×1 convolution and norm on the shortcut of a stage's first unit."""

    def __init__(self, in_chans: int, out_chans: int, stride: int, conv_norm: ConvNorm):
        super().__init__()
        self.conv = StdConv2D(in_chans, out_chans, 1, stride=stride, conv_norm=conv_norm)
        self.norm = group_norm(out_chans, conv_norm)

    def forward(self, x):
        return self.norm(self.conv(x))


class Bottleneck(nn.Layer):
    """Residual unit 1×1, 3×3 (strided), 1×1, each with group norm; ReLU after the sum.

    The last norm's gain starts at 0, so a fresh unit is its shortcut.
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int, first: bool, conv_norm: ConvNorm):
        super().__init__()
        inner = out_chans // 4
        self.downsample = Downsample(in_chans, out_chans, stride, conv_norm) if first else nn.Identity()
        self.conv1 = StdConv2D(in_chans, inner, 1, conv_norm=conv_norm)
        self.norm1 = group_norm(inner, conv_norm)
        self.conv2 = StdConv2D(inner, inner, 3, stride=stride, conv_norm=conv_norm)
        self.norm2 = group_norm(inner, conv_norm)
        self.conv3 = StdConv2D(inner, out_chans, 1, conv_norm=conv_norm)
        self.norm3 = group_norm(out_chans, conv_norm, zero=True)

    def forward(self, x):  # [B, C, H, W]
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.downsample(x) + self.norm3(self.conv3(y)))


class Stem(nn.Layer):
    """7×7 stride-2 convolution, group norm, ReLU, 3×3 stride-2 max pool: a quarter of the size."""

    def __init__(self, in_chans: int, conv_norm: ConvNorm):
        super().__init__()
        self.conv = StdConv2D(in_chans, STEM_WIDTH, 7, stride=2, conv_norm=conv_norm)
        self.norm = group_norm(STEM_WIDTH, conv_norm)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, stride=2, padding="SAME")


class Stage(nn.Layer):
    """Residual units of one width; the first one strides and projects its shortcut."""

    def __init__(self, in_chans: int, out_chans: int, stride: int, depth: int, conv_norm: ConvNorm):
        super().__init__()
        self.blocks = nn.LayerList(
            Bottleneck(out_chans if i else in_chans, out_chans, 1 if i else stride, i == 0, conv_norm)
            for i in range(depth)
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class ResNet(nn.Layer):
    """Stem and stages.

    Args:
        units: residual units of each stage.
        in_chans: input channels.
        conv_norm: epsilon convention of convolutions and norms.

    Attributes:
        width: channels out.
        strides: stride of every stage, stem (4) first.
    """

    def __init__(self, units: Sequence[int], in_chans: int, conv_norm: ConvNorm):
        super().__init__()
        self.stem = Stem(in_chans, conv_norm)
        widths = (STEM_WIDTH, *STAGE_WIDTHS[: len(units)])
        self.strides = (2, 2, *(1 if i == 0 else 2 for i in range(len(units))))
        self.stages = nn.LayerList(
            Stage(widths[i], widths[i + 1], self.strides[i + 2], depth, conv_norm) for i, depth in enumerate(units)
        )
        self.width = widths[-1]

    def forward(self, x):  # [B, C, H, W] -> [B, width, H/stride, W/stride]
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


class HybridEmbed(nn.Layer):
    """Patch embedding from the feature map of a ResNet.

    Args:
        img_size: input height and width in pixels, one number or (h, w).
        in_chans: input channels.
        embed_dim: channels of a token.
        units: residual units of each stage; empty for the stem alone.
        patch_size: side of a patch of the feature map.
        conv_norm: `timm` (standardisation epsilon 1e-8 inside the root, group norm 1e-5) or
            `jax` (1e-5 added to the deviation, group norm 1e-6: what Google's weights saw).

    Attributes:
        grid: patches (down, across).
        in_chans: as given.

    Raises:
        ConfigError: an argument out of its range, or a feature map that is not a whole number of patches.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        in_chans: int = 3,
        embed_dim: int = 768,
        *,
        units: Sequence[int] = (3, 4, 9),
        patch_size: int = 1,
        conv_norm: ConvNorm = "timm",
    ):
        super().__init__()
        self.img_size, self.in_chans = checks.size(self, img_size=img_size), in_chans
        checks.whole(self, 1, in_chans=in_chans, embed_dim=embed_dim, patch_size=patch_size)
        checks.wholes(self, 1, units=units)
        checks.choice(self, tuple(GROUP_NORM_EPS), conv_norm=conv_norm)
        if len(units) > len(STAGE_WIDTHS):
            checks.fail(self, "units", units, f"of at most {len(STAGE_WIDTHS)} stages")
        # timm's stem-only backbone has no `stem.` in its names: it is the stem.
        if units:
            self.backbone = ResNet(units, in_chans, conv_norm)
            strides, width = self.backbone.strides, self.backbone.width
        else:
            self.backbone, strides, width = Stem(in_chans, conv_norm), (2, 2), STEM_WIDTH
        size = self.img_size
        for stride in strides:
            size = same_size(size, stride)
        if size[0] % patch_size or size[1] % patch_size:
            raise ConfigError(
                f"img_size {self.img_size[0]}x{self.img_size[1]} gives a {size[0]}x{size[1]} feature map, "
                f"which is not a whole number of {patch_size}x{patch_size} patches"
            )
        self.grid, self.in_chans = (size[0] // patch_size, size[1] // patch_size), in_chans
        fan_in = width * patch_size**2
        self.proj = nn.Conv2D(
            width,
            embed_dim,
            kernel_size=patch_size,
            stride=patch_size,
            weight_attr=init.attr(init.UniformFanIn()),
            bias_attr=init.attr(init.UniformFanIn(fan_in)),
        )

    def forward(self, x):  # [B, C, H, W]
        check_input(x, self.img_size)
        return self.proj(self.backbone(x)).flatten(2).transpose([0, 2, 1])  # [B, N, D]


def hybrid(units: Sequence[int], patch_size: int, conv_norm: ConvNorm) -> EmbedLayer:
    """Returns the `embed_layer` argument of a VisionTransformer with this ResNet."""

    def embed_layer(*, img_size: int | Sequence[int], in_chans: int, embed_dim: int) -> HybridEmbed:
        return HybridEmbed(img_size, in_chans, embed_dim, units=units, patch_size=patch_size, conv_norm=conv_norm)

    return embed_layer


# Builders. Keyword arguments are those of `VisionTransformer`; `conv_norm` is `HybridEmbed`'s.


def vit_tiny_r_s16_p8_224(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R+Ti/16 at 224 px: ResNet stem, 8×8 patches of its map."""
    return build(TINY, dict(embed_layer=hybrid((), 8, conv_norm), img_size=224), kwargs)


def vit_tiny_r_s16_p8_384(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R+Ti/16 at 384 px."""
    return build(TINY, dict(embed_layer=hybrid((), 8, conv_norm), img_size=384), kwargs)


def vit_small_r26_s32_224(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R26+S/32 at 224 px."""
    return build(SMALL, dict(embed_layer=hybrid((2, 2, 2, 2), 1, conv_norm), img_size=224), kwargs)


def vit_small_r26_s32_384(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R26+S/32 at 384 px."""
    return build(SMALL, dict(embed_layer=hybrid((2, 2, 2, 2), 1, conv_norm), img_size=384), kwargs)


def vit_base_r50_s16_224(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R50+B/16 at 224 px: three stages of 3, 4, 9 units (appendix B.2)."""
    return build(BASE, dict(embed_layer=hybrid((3, 4, 9), 1, conv_norm), img_size=224), kwargs)


def vit_base_r50_s16_384(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R50+B/16 at 384 px."""
    return build(BASE, dict(embed_layer=hybrid((3, 4, 9), 1, conv_norm), img_size=384), kwargs)


def vit_large_r50_s32_224(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R50+L/32 at 224 px."""
    return build(LARGE, dict(embed_layer=hybrid((3, 4, 6, 3), 1, conv_norm), img_size=224), kwargs)


def vit_large_r50_s32_384(*, conv_norm: ConvNorm = "timm", **kwargs) -> VisionTransformer:
    """R50+L/32 at 384 px."""
    return build(LARGE, dict(embed_layer=hybrid((3, 4, 6, 3), 1, conv_norm), img_size=384), kwargs)
