"""How a convolution sees what lies beyond the edge of an image."""

from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.layers import conv2d

Border = Literal["replicate", "zero", "valid"]
BORDERS = ("replicate", "zero", "valid")


class BorderedConv(nn.Conv2D):
    """A convolution of odd size and stride 1, made without padding; called with the border, see `convolve`."""

    def forward(self, x, border):
        return convolve(self, x, border)


def convolve(conv: nn.Conv2D, x: paddle.Tensor, border: Border) -> paddle.Tensor:
    """A convolution of odd size k and stride 1 of [B, C, H, W].

    Args:
        conv: made without padding.
        border: `replicate` repeats the edge and `zero` goes on with zeros, so that the size stays; `valid` stays inside the
            image, which becomes k - 1 pixels smaller.
    """
    reach = conv.weight.shape[2] // 2
    if border == "replicate":
        x = replicated(x, reach)
    padding = reach if border == "zero" else 0
    one_output = conv.weight.shape[0] == 1 and reach > 0
    if one_output and conv.training and paddle.in_dynamic_mode() and x.place.is_cpu_place():
        return _to_one_channel(conv, x, padding)
    return conv2d(x, conv.weight, conv.bias, padding=padding)


def _to_one_channel(conv: nn.Conv2D, x: paddle.Tensor, padding: int) -> paddle.Tensor:
    """A convolution with one output channel as k·k products of each pixel, added up where they belong.

    Paddle's own gathers k·k·C values for each pixel and, in its gradient, scatters them; this gathers and scatters k·k. On
    one core, 128 sub-images of SRCNN's last layer (32 x 25 x 25, k = 5) took 9.5 ms forward and backward for 57.6.
    """
    channels, k = conv.weight.shape[1], conv.weight.shape[2]
    # The product with the kernel's last row and column is the one that `fold` puts first.
    taps = conv.weight.flip([2, 3]).reshape([channels, k * k]).t().reshape([k * k, channels, 1, 1])
    height, width = x.shape[2:]
    products = F.conv2d(x, taps).reshape([x.shape[0], k * k, height * width])
    sums = F.fold(products, [height + k - 1, width + k - 1], k)
    cut = k - 1 - padding
    return sums[:, :, cut : sums.shape[2] - cut, cut : sums.shape[3] - cut] + conv.bias.reshape([1, 1, 1, 1])


def replicated(x: paddle.Tensor, by: int) -> paddle.Tensor:
    """[B, C, H, W] with its edge repeated `by` pixels on every side."""
    if by == 0:
        return x
    if not paddle.in_dynamic_mode():
        return F.pad(x, [by] * 4, mode="replicate")
    # As `pad` makes it; its gradient is a sum of slices, which is faster on a CPU.
    x = paddle.concat([x[:, :, :1]] * by + [x] + [x[:, :, -1:]] * by, axis=2)
    return paddle.concat([x[:, :, :, :1]] * by + [x] + [x[:, :, :, -1:]] * by, axis=3)
