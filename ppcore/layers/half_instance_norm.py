"""Instance normalisation of half the channels (HINet, Chen et al. 2021)."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import checks, init


class HalfInstanceNorm(nn.Layer):
    """Normalises the first half of the channels over height and width; the second half passes.

    Per image and channel, with the population variance, epsilon 1e-5, a scale and a shift; there are
    no running statistics.

    Args:
        channels: of the input, even, from 2 on.

    Raises:
        ConfigError: `channels` is something else.
    """

    def __init__(self, channels: int):
        super().__init__()
        checks.whole(self, 2, channels=channels)
        if channels % 2:
            raise ConfigError(f"half instance normalisation needs an even number of channels, got {channels}")
        self.half = channels // 2
        self.weight = self.create_parameter([self.half], default_initializer=init.Ones())
        self.bias = self.create_parameter([self.half], default_initializer=init.Zeros())

    def forward(self, x):  # [B, C, H, W]
        first, second = x[:, : self.half], x[:, self.half :]
        normed = F.instance_norm(first, weight=self.weight, bias=self.bias, eps=1e-5)
        return paddle.concat([normed, second], axis=1)
