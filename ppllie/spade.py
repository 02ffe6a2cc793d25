"""Spatially adaptive modulation (SPADE, Park et al. 2019): a map says how strongly each place is scaled and shifted."""

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import Conv2D, checks, init


class Spade(nn.Layer):
    """x normalised per image and channel (no parameters, epsilon 1e-5), times (1 + gamma), plus beta.

    Both come from the guide: conv3x3 to `hidden` - ReLU, then one 3x3 convolution each.

    Args:
        channels: of x.
        guide_channels: of the guide.
        hidden: between.
        gain: of the weights at the start; biases start at 0.

    Shape:
        x [B, C, H, W] and a guide [B, guide_channels, H, W] of the same size -> [B, C, H, W].
    """

    def __init__(self, channels: int, *, guide_channels: int = 1, hidden: int = 128, gain: float = 1.0):
        super().__init__()
        checks.whole(self, 1, channels=channels, guide_channels=guide_channels, hidden=hidden)
        self.shared = scaled_conv(guide_channels, hidden, 3, gain=gain)
        self.gamma = scaled_conv(hidden, channels, 3, gain=gain)
        self.beta = scaled_conv(hidden, channels, 3, gain=gain)

    def forward(self, x, guide):
        hidden = F.relu(self.shared(guide))
        return F.instance_norm(x, eps=1e-5) * (1 + self.gamma(hidden)) + self.beta(hidden)


def scaled_conv(
    in_chans: int, out_chans: int, kernel: int, *, stride: int = 1, padding: int | None = None, gain: float = 1.0
) -> nn.Conv2D:
    """A convolution with bias that starts as `gain` times Kaiming's normal (fan-in, ReLU) with bias 0."""
    spread = gain * (2 / (in_chans * kernel**2)) ** 0.5
    return Conv2D(
        in_chans,
        out_chans,
        kernel,
        stride=stride,
        padding=kernel // 2 if padding is None else padding,
        weight_attr=init.attr(init.Gaussian(spread)),
        bias_attr=init.attr(init.Zeros()),
    )
