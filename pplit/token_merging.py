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
        taps = sampled(x.transpose([0, 2, 3, 1]), offset.transpose([0, 2, 3, 1]))
        weight = self.weight.transpose([2, 3, 1, 0]).reshape([-1, self.bias.shape[0]])  # [4 · in, out], taps first
        return F.linear(taps, weight, self.bias).transpose([0, 3, 1, 2])


def sampled(x: paddle.Tensor, offset: paddle.Tensor) -> paddle.Tensor:
    """What the four taps of each 2 x 2 window read: a product with the weights then is the convolution.

    Places are whole numbers and a part of a pixel, never a sum of both: in bfloat16 pixel 55.3 is 55.25.

    Args:
        x: [B, H, W, C], H and W even and known.
        offset: [B, H/2, W/2, 8], as of `DeformConv2x2`.

    Returns:
        [B, H/2, W/2, 4 · C], taps row by row.
    """
    height, width, dim = x.shape[1:]
    whole = paddle.floor(offset)
    down, across = (offset - whole)[..., 0::2], (offset - whole)[..., 1::2]  # in [0, 1): [B, H/2, W/2, 4]
    top = whole[..., 0::2].astype("int64") + _places(height, (0, 0, 1, 1)).unsqueeze(1)
    left = whole[..., 1::2].astype("int64") + _places(width, (0, 1, 0, 1))
    pixels = x.reshape([-1, dim])
    image = paddle.arange(0, paddle.shape(x)[0], 1, dtype="int64").reshape([-1, 1, 1, 1]) * (height * width)
    read = []
    for row, near_row in ((top, 1 - down), (top + 1, down)):
        for column, near_column in ((left, 1 - across), (left + 1, across)):
            inner_row, inner_column = _within(row, height), _within(column, width)
            inside = paddle.logical_and(inner_row == row, inner_column == column).astype(x.dtype)
            index = (image + inner_row * width + inner_column).flatten()
            share = (near_row * near_column * inside).reshape([-1, 1])
            read.append(paddle.gather(pixels, index) * share)
    return (read[0] + read[1] + read[2] + read[3]).reshape([-1, height // 2, width // 2, 4 * dim])


def _places(size: int, taps: tuple[int, ...]) -> paddle.Tensor:
    """Where the taps of each window stand on one axis: int64 [size / 2, 4]."""
    return paddle.to_tensor([[start + tap for tap in taps] for start in range(0, size, 2)], dtype="int64")


def _within(place: paddle.Tensor, size: int) -> paddle.Tensor:
    """The nearest place in the map."""
    zero = paddle.zeros_like(place)
    return paddle.minimum(paddle.maximum(place, zero), zero + (size - 1))


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
