"""Weight-standardised convolution and the group norm that goes with it (BiT, Kolesnikov et al. 2020)."""

import math
from typing import Literal

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks, init

ConvNorm = Literal["timm", "jax"]

# Epsilon of the group norms that each code base pairs with its standardisation.
GROUP_NORM_EPS = {"timm": 1e-5, "jax": 1e-6}


class StdConv2D(nn.Conv2D):
    """Bias-free convolution whose filters are standardised before use (Qiao et al. 2019).

    Each filter w (all but the out axis) becomes (w - mean) / scale with

        timm: scale = sqrt(var + 1e-8)        jax (vit_jax, BiT): scale = sqrt(var) + 1e-5

    where var is the population variance. The two differ by 1.7e-3 for filters of spread .02.
    Output size is ceil(size / stride), TensorFlow's "SAME": an odd padding has its larger half
    at the bottom and right. Starts at N(0, 2/fan_out), as timm's backbones do.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: side of the square kernel.
        stride: stride of both axes.
        conv_norm: which epsilon convention.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        conv_norm: ConvNorm = "timm",
    ):
        checks.whole(
            self, 1, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=stride
        )
        checks.choice(self, tuple(GROUP_NORM_EPS), conv_norm=conv_norm)
        fan_out = out_channels * kernel_size**2
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding="SAME",
            weight_attr=init.attr(init.Gaussian(math.sqrt(2 / fan_out))),
            bias_attr=False,
        )
        self.conv_norm = conv_norm

    def standardised(self):
        """The weight in use, (out, in, kh, kw)."""
        # Not kept between calls, not even in evaluation: the weight may be changed in place, by an
        # optimizer, an EMA swap or set_state_dict, and nothing here would notice.
        flat = self.weight.flatten(1)  # [out, in·kh·kw]
        if self.conv_norm == "timm":
            # Layer norm without gain is this very formula, in one kernel each way.
            flat = F.layer_norm(flat, flat.shape[1:], epsilon=1e-8)
        else:
            centred = flat - flat.mean(axis=1, keepdim=True)
            flat = centred / (centred.square().mean(axis=1, keepdim=True).sqrt() + 1e-5)
        return flat.reshape(self.weight.shape)

    def forward(self, x):  # [B, C, H, W]
        return F.conv2d(x, self.standardised(), stride=self._stride, padding="SAME")


def group_norm(channels: int, conv_norm: ConvNorm = "timm", *, zero: bool = False) -> nn.GroupNorm:
    """GroupNorm of 32 groups with the epsilon of `conv_norm`; `zero` starts its gain at 0."""
    gain = init.attr(init.Zeros()) if zero else None
    return nn.GroupNorm(32, channels, epsilon=GROUP_NORM_EPS[conv_norm], weight_attr=gain)


def same_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(h, w) after a SAME-padded layer of `stride`: ceil(size / stride)."""
    return -(-size[0] // stride), -(-size[1] // stride)
