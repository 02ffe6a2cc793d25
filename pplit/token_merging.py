"""Deformable token merging (LITv1, Pan et al. 2022; LITv2 §4): four tokens become one, sampled where offsets say."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F
from paddle.vision.ops import deform_conv2d

from ppcore.errors import ConfigError
from ppcore.layers import checks, init


class DeformConv2x2(nn.Layer):
    """Deformable convolution (Dai et al. 2017, without modulation) of kernel and stride 2.

        y[o, p] = bias[o] + sum over c, k of weight[o, c, k] · x[c](2 p + tap k + offset[k](p))

    x is read bilinearly, and is 0 outside. A convolution gives the offsets, in pixels, channels (dy, dx) of each tap, taps
    row by row; it starts at zero, so that the layer starts as a plain convolution. At whole offsets the derivative by an
    offset is that towards the next pixel.

    Where a graph is exported the same is computed by `sampled`, whose operators every engine has.

    Args:
        in_channels: channels in.
        out_channels: channels out.

    Shape:
        [B, in_channels, H, W], H and W even -> [B, out_channels, H/2, W/2].

    Raises:
        ConfigError: an argument out of its range; in `forward`, an odd height or width.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        checks.whole(self, 1, in_channels=in_channels, out_channels=out_channels)
        uniform = init.UniformFanIn(4 * in_channels)
        self.weight = self.create_parameter([out_channels, in_channels, 2, 2], attr=init.attr(uniform))
        self.bias = self.create_parameter([out_channels], attr=init.attr(uniform))
        zeros = init.attr(init.Zeros())
        self.conv_offset = nn.Conv2D(in_channels, 8, 2, stride=2, weight_attr=zeros, bias_attr=zeros)

    def forward(self, x):
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ConfigError(
                f"token merging needs an even height and width, and got {x.shape[2]}x{x.shape[3]}: "
                "pad or resize the image to a multiple of what the model says"
            )
        offset = self.conv_offset(x)  # [B, 8, H/2, W/2]
        if paddle.in_dynamic_mode():
            return deform_conv2d(x, offset, self.weight, self.bias, stride=2)
        return F.conv2d(sampled(x, offset), self.weight, self.bias, stride=2)


def sampled(x: paddle.Tensor, offset: paddle.Tensor) -> paddle.Tensor:
    """What each tap of a 2 x 2 window reads, at the tap's place: a plain convolution of stride 2 then does the rest.

    Args:
        x: [B, C, H, W], H and W even and known.
        offset: [B, 8, H/2, W/2], as of `DeformConv2x2`.

    Returns:
        [B, C, H, W].
    """
    height, width = x.shape[2:]
    parts = offset.split(8, axis=1)
    down, across = (F.pixel_shuffle(paddle.concat(parts[axis::2], axis=1), 2) for axis in (0, 1))  # each [B, 1, H, W]
    down = down + paddle.arange(height, dtype="float32").reshape([1, 1, height, 1])
    across = across + paddle.arange(width, dtype="float32").reshape([1, 1, 1, width])
    # From pixels to the [-1, 1] from the first pixel's centre to the last's.
    grid = paddle.concat([across * (2 / (width - 1)) - 1, down * (2 / (height - 1)) - 1], axis=1)
    return F.grid_sample(x, grid.transpose([0, 2, 3, 1]), padding_mode="zeros", align_corners=True)


class TokenMerging(nn.Layer):
    """Deformable convolution, batch norm, GELU: [B, H, W, dim] -> [B, H/2, W/2, 2 · dim].

    Args:
        dim: channels in.

    Raises:
        ConfigError: `dim` is no whole number from 1 on; in `forward`, an odd height or width.
    """

    def __init__(self, dim: int):
        super().__init__()
        checks.whole(self, 1, dim=dim)
        self.dconv = DeformConv2x2(dim, 2 * dim)
        self.norm = nn.BatchNorm2D(2 * dim, momentum=0.9, epsilon=1e-5)

    def forward(self, x):
        y = self.norm(self.dconv(x.transpose([0, 3, 1, 2])))
        return F.gelu(y).transpose([0, 2, 3, 1])
