"""The networks of SMG (Xu, Wang and Lu, CVPR 2023, arXiv 2305.05839) that need nothing but convolutions.

`AppearanceNet` is a small U-net; `StructureGuidedNet` (SGEM) is the same with an edge map that filters and modulates the
features on their way up. Widths are n, 2n and 4n at full, half and quarter size. Convolutions start at a tenth of
Kaiming's spread, so that a fresh network adds almost nothing to the image.
"""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks, reflect_to
from ppcore.layers.leaky_relu import leaky_relu
from ppllie.per_pixel_filter import filter_per_pixel
from ppllie.spade import Spade, scaled_conv

_GAIN = 0.1
_SMALLEST = 8  # pixels a side: a quarter of it still has a neighbour to reflect
_TAPS = 9  # of a 3x3 kernel


def _conv(in_chans: int, out_chans: int, kernel: int = 3, *, stride: int = 1, padding: int | None = None) -> nn.Conv2D:
    return scaled_conv(in_chans, out_chans, kernel, stride=stride, padding=padding, gain=_GAIN)


class ResidualBlock(nn.Layer):
    """x + conv3x3 - ReLU - conv3x3 with reflected borders."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (_conv(channels, channels, padding=0) for _ in range(2))

    def forward(self, x):
        y = F.relu(self.conv1(F.pad(x, [1] * 4, mode="reflect")))
        return x + self.conv2(F.pad(y, [1] * 4, mode="reflect"))


class KernelPredictor(nn.Layer):
    """A 3x3 kernel for every pixel and channel: conv3x3, a residual block, conv1x1, each with LeakyReLU (slope 0.1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = _conv(channels, channels)
        self.conv1, self.conv2 = (_conv(channels, channels) for _ in range(2))
        self.last = _conv(channels, _TAPS * channels, 1)

    def forward(self, x):
        x = leaky_relu(self.first(x))
        x = x + self.conv2(leaky_relu(self.conv1(x)))
        return leaky_relu(self.last(x))


class StructureGuidance(nn.Layer):
    """Structure-guided feature synthesis: the edge map makes kernels that filter the feature, then modulates it.

    Shape:
        feature [B, C, H, W] and edges [B, 1, H, W] -> [B, C, H, W], to be added to the feature.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.edge_conv = _conv(1, channels)
        self.kernels = KernelPredictor(channels)
        self.spade = Spade(channels, gain=_GAIN)
        self.conv = _conv(channels, channels)

    def forward(self, x, edges):
        filtered = filter_per_pixel(x, self.kernels(leaky_relu(self.edge_conv(edges))))
        return F.relu(self.conv(self.spade(filtered, edges)))


class _UNet(nn.Layer):
    """What both networks share: three levels down, two up by pixel shuffle, each beside its skip."""

    def __init__(self, in_chans: int, out_chans: int, width: int, blocks: int):
        super().__init__()
        checks.whole(self, 1, in_chans=in_chans, out_chans=out_chans, width=width)
        checks.whole(self, 0, blocks=blocks)
        n = width
        self.down1 = _conv(in_chans, n)
        self.down2 = _conv(n, 2 * n, stride=2)
        self.down3 = _conv(2 * n, 4 * n, stride=2)
        self.bottom = nn.Sequential(*(ResidualBlock(4 * n) for _ in range(blocks)))
        self.up1 = _conv(8 * n, 8 * n)
        self.up2 = _conv(4 * n, 4 * n)
        self.tail = _conv(2 * n, n)
        self.out = _conv(n, out_chans, 1)

    def _up(self, conv: nn.Conv2D, x, skip):
        return F.relu(F.pixel_shuffle(conv(paddle.concat([x, skip], axis=1)), 2))

    def _pass(self, x, half=lambda feature: feature, full=lambda feature: feature):
        """The U-net on [B, in_chans, H, W], H and W multiples of 4; `half` and `full` act on the features going up."""
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(one))
        three = F.relu(self.down3(two))
        z = half(self._up(self.up1, self.bottom(three), three))
        z = full(self._up(self.up2, z, two))
        return self.out(F.relu(self.tail(paddle.concat([z, one], axis=1))))


def padded(x: paddle.Tensor) -> paddle.Tensor:
    """[B, C, H, W] extended by reflection to sides that are multiples of 4, from 8 on."""
    height, width = (max(-(-side // 4) * 4, _SMALLEST) for side in x.shape[2:])
    return reflect_to(x, height, width)


class AppearanceNet(_UNet):
    """The plain U-net. 1,144,643 parameters at 3 -> 3 channels, width 32, one block.

    Args:
        in_chans, out_chans: of the images.
        width: n.
        blocks: residual blocks at quarter size.

    Shape:
        [B, in_chans, H, W] -> [B, out_chans, H, W], any H, W >= 1.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(self, *, in_chans: int = 3, out_chans: int = 3, width: int = 32, blocks: int = 1):
        super().__init__(in_chans, out_chans, width, blocks)

    def run(self, x):
        """As `forward`, for sides that are multiples of 4, from 8 on."""
        return self._pass(x)

    def forward(self, x):
        height, width = x.shape[2:]
        return self.run(padded(x))[:, :, :height, :width]


class StructureGuidedNet(_UNet):
    """SGEM: the U-net under the guidance of an edge map. 459,011 parameters at 6 -> 3, width 16, one block.

    Arguments and errors as of `AppearanceNet`.

    Shape:
        x [B, in_chans, H, W] and edges [B, 1, H, W] -> [B, out_chans, H, W], any H, W >= 1.
    """

    def __init__(self, *, in_chans: int = 6, out_chans: int = 3, width: int = 16, blocks: int = 1):
        super().__init__(in_chans, out_chans, width, blocks)
        self.guide1 = StructureGuidance(2 * width)
        self.guide2 = StructureGuidance(width)

    def run(self, x, edges):
        """As `forward`, for sides that are multiples of 4, from 8 on."""
        half = edges[:, :, ::2, ::2]  # nearest at half the size
        return self._pass(x, lambda z: z + self.guide1(z, half), lambda z: z + self.guide2(z, edges))

    def forward(self, x, edges):
        height, width = x.shape[2:]
        return self.run(padded(x), padded(edges))[:, :, :height, :width]
