"""Per-channel scale of a residual branch."""

import paddle.nn as nn
from paddle.nn.initializer import Constant

from ppcore.layers import checks, init


class LayerScale(nn.Layer):
    """Multiplies the last axis by a learned vector `gamma` (Touvron et al. 2021, arXiv 2103.17239, eq. 4).

    Args:
        dim: channels.
        value: initial value of every entry (1e-4 in DeiT III's code, 1e-6 in timm's port).

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(self, dim: int, value: float):
        super().__init__()
        checks.whole(self, 1, dim=dim)
        checks.number(self, value=value)
        self.gamma = self.create_parameter([dim], attr=init.attr(Constant(value)))

    def forward(self, x):
        return x * self.gamma
