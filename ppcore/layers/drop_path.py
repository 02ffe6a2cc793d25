"""Stochastic depth."""

from typing import Literal

import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import checks


class DropPath(nn.Layer):
    """Drops a residual branch for whole samples (Huang et al. 2016, arXiv 1603.09382).

    In training each sample keeps its branch with probability `1 - rate` and a kept branch is
    divided by it, so the mean is unchanged. In evaluation it is the identity.

    Args:
        rate: probability of dropping, in [0, 1).

    Raises:
        ConfigError: another rate.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        checks.rate(self, rate=rate)
        self.rate = rate

    def forward(self, x):
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        mask = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1)) < keep  # [B, 1, …]
        return x * (mask.astype(x.dtype) / keep)

    def extra_repr(self):
        return f"rate={self.rate}"


def drop_path_rates(rate: float, depth: int, mode: Literal["linear", "constant"] = "linear") -> list[float]:
    """Rate of each block: `linear` from 0 to `rate` (DeiT), `constant` for all blocks (DeiT III)."""
    if mode == "constant":
        return [rate] * depth
    if mode == "linear":
        return [rate * i / max(depth - 1, 1) for i in range(depth)]
    raise ConfigError(f"drop-path mode must be 'linear' or 'constant', not {mode!r}")
