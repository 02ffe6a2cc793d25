"""Deformable token merging (LITv1, Pan et al. 2022; LITv2 §4): four tokens become one, sampled where offsets say."""

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F
from paddle.vision.ops import deform_conv2d

from ppcore.errors import ConfigError
from ppcore.layers import checks, init
from pplit.zero_border import with_zeros

# Zeros around a map, wide enough that both pixels about a place beyond it are zeros.
BORDER = 2


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

    A place is a whole number of pixels and a part of one, never the sum of both, which bfloat16 would round to a quarter of
    a pixel and more; and no float is a whole number above 256.

    Args:
        x: [B, H, W, C], H and W even, known, and below 256.
        offset: [B, H/2, W/2, 8], as of `DeformConv2x2`.

    Returns:
        [B, H/2, W/2, 4 · C], taps row by row.
    """
    height, width, dim = x.shape[1:]
    pixels = with_zeros(x, above=BORDER, below=BORDER, left=BORDER, right=BORDER).reshape([-1, dim])
    row, down = _place(offset[..., 0::2], height, (0, 0, 1, 1), axis=1)
    column, across = _place(offset[..., 1::2], width, (0, 1, 0, 1), axis=2)
    # Steps are tensors: a number would make a scaling of it, which Paddle2ONNX writes in floats.
    line, one = _whole(width + 2 * BORDER), _whole(1)
    image = paddle.arange(0, paddle.shape(x)[0], 1, dtype="int64").reshape([-1, 1, 1, 1])
    first = ((image * _whole(height + 2 * BORDER) + row) * line + column).flatten()
    corners = (
        (first, (1 - down) * (1 - across)),
        (first + one, (1 - down) * across),
        (first + line, down * (1 - across)),
        (first + line + one, down * across),
    )
    read = [paddle.gather(pixels, place) * share.reshape([-1, 1]) for place, share in corners]
    return (read[0] + read[1] + read[2] + read[3]).reshape([-1, height // 2, width // 2, 4 * dim])


def _whole(number: int) -> paddle.Tensor:
    return paddle.to_tensor(np.array([number]))


def _place(offset: paddle.Tensor, size: int, taps: tuple[int, ...], axis: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The pixel before each place on one axis, int64 and counted in the map with its border, and the part beyond it.

    Beyond the border there is the border: zeros.
    """
    shape = [1, 1, 1, 4]
    shape[axis] = size // 2
    start = np.array([[begin + tap for tap in taps] for begin in range(0, size, 2)]).reshape(shape)
    whole = paddle.floor(offset)
    least, most = (paddle.to_tensor((end - start).astype("float32")) for end in (-BORDER, size))
    inside = paddle.minimum(paddle.maximum(whole, least), most)
    return inside.astype("int64") + paddle.to_tensor(start + BORDER), offset - whole


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
