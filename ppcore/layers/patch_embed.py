"""From images to patch tokens."""

from collections.abc import Sequence

import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import checks, init


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of a size given as one number or two."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


class PatchEmbed(nn.Layer):
    """Projects non-overlapping patches to tokens with one strided convolution (ViT, eq. 1).

    Starts as torch's convolution does, U(±1/sqrt(fan_in)), weight and bias (timm, DeiT).

    Args:
        img_size: input height and width in pixels, one number or (h, w).
        patch_size: patch height and width in pixels, one number or (h, w).
        in_chans: input channels.
        embed_dim: channels of a token.
        bias: whether the projection has a bias.

    Attributes:
        grid: patches (down, across).
        in_chans: as given.

    Raises:
        ConfigError: an argument out of its range, or an image that is not a whole number of patches.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        patch_size: int | Sequence[int] = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.img_size = checks.size(self, img_size=img_size)
        self.patch_size = checks.size(self, patch_size=patch_size)
        checks.whole(self, 1, in_chans=in_chans, embed_dim=embed_dim)
        checks.flag(self, bias=bias)
        (height, width), (ph, pw) = self.img_size, self.patch_size
        if height % ph or width % pw:
            raise ConfigError(
                f"img_size {height}x{width} is not a whole number of {ph}x{pw} patches: "
                f"use a multiple, such as {max(height // ph, 1) * ph}x{max(width // pw, 1) * pw}"
            )
        self.grid, self.in_chans = (height // ph, width // pw), in_chans
        fan_in = in_chans * ph * pw
        self.proj = nn.Conv2D(
            in_chans,
            embed_dim,
            kernel_size=self.patch_size,
            stride=self.patch_size,
            weight_attr=init.attr(init.UniformFanIn()),
            bias_attr=init.attr(init.UniformFanIn(fan_in)) if bias else False,
        )

    def forward(self, x):  # [B, C, H, W]
        check_input(x, self.img_size)
        return self.proj(x).flatten(2).transpose([0, 2, 1])  # [B, N, D]


def check_input(x: paddle.Tensor, img_size: tuple[int, int]) -> None:
    """Raises ConfigError when the known height or width of `x` [B, C, H, W] is not `img_size`."""
    height, width = x.shape[2], x.shape[3]  # -1 where a static graph leaves an axis open
    if height not in (img_size[0], -1) or width not in (img_size[1], -1):
        raise ConfigError(
            f"the model was built for {img_size[0]}x{img_size[1]} images and got {height}x{width}: "
            f"resize the input or build with img_size=({height}, {width})"
        )


def pixel_unshuffle(x: paddle.Tensor, factor: int) -> paddle.Tensor:
    """Moves every factor × factor patch into channels: [B, C, H, W] -> [B, C·f², H/f, W/f].

    Channel order is torch's: c·f² + dy·f + dx.
    """
    return paddle.nn.functional.pixel_unshuffle(x, factor)


def patchify(x: paddle.Tensor, patch_size: int | Sequence[int]) -> paddle.Tensor:
    """Cuts [B, C, H, W] into flattened patches [B, N, ph·pw·C], channels fastest (p1 p2 c)."""
    ph, pw = pair(patch_size)
    batch, chans, height, width = x.shape
    if height % ph or width % pw:
        raise ValueError(f"{height}x{width} is not a whole number of {ph}x{pw} patches")
    x = x.reshape([batch, chans, height // ph, ph, width // pw, pw])
    x = x.transpose([0, 2, 4, 3, 5, 1])  # [B, gh, gw, ph, pw, C]
    return x.reshape([batch, (height // ph) * (width // pw), ph * pw * chans])
