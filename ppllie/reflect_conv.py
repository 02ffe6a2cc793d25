"""A 3x3 convolution of a map that goes on by reflection, as PairLIE's are."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import conv2d, init


class ReflectConv(nn.Conv2D):
    """3x3 convolution with bias of [B, C, H, W] extended by reflection, H and W >= 2: the size stays.

    Starts as U(±1/sqrt(fan_in)), torch's default.
    """

    def __init__(self, in_chans: int, out_chans: int):
        super().__init__(
            in_chans, out_chans, 3,
            weight_attr=init.attr(init.UniformFanIn()), bias_attr=init.attr(init.UniformFanIn(9 * in_chans)),
        )  # fmt: skip

    def forward(self, x):
        x = _extended(x) if paddle.in_dynamic_mode() else F.pad(x, [1, 1, 1, 1], mode="reflect")
        return conv2d(x, self.weight, self.bias)  # no super(): Paddle 2.6 does not export it


def _extended(x: paddle.Tensor) -> paddle.Tensor:
    """One pixel more on every side, as `pad` makes it; with its gradient in a third of the time on a CPU."""
    x = paddle.concat([x[:, :, 1:2], x, x[:, :, -2:-1]], axis=2)
    return paddle.concat([x[:, :, :, 1:2], x, x[:, :, :, -2:-1]], axis=3)
