"""How a convolution sees what lies beyond the edge of an image."""

from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

Border = Literal["replicate", "zero", "valid"]
BORDERS = ("replicate", "zero", "valid")


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
    return F.conv2d(x, conv.weight, conv.bias, padding=reach if border == "zero" else 0)


def replicated(x: paddle.Tensor, by: int) -> paddle.Tensor:
    """[B, C, H, W] with its edge repeated `by` pixels on every side."""
    if by == 0:
        return x
    if not paddle.in_dynamic_mode():
        return F.pad(x, [by] * 4, mode="replicate")
    # As `pad` makes it; its gradient is a sum of slices, which is faster on a CPU.
    x = paddle.concat([x[:, :, :1]] * by + [x] + [x[:, :, -1:]] * by, axis=2)
    return paddle.concat([x[:, :, :, :1]] * by + [x] + [x[:, :, :, -1:]] * by, axis=3)
