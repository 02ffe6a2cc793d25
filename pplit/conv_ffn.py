"""The feed-forward half of LITv2's blocks: a depth-wise convolution inside the MLP tells where a token is."""

import math

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import Conv2D, Linear, checks, init


class ConvFFN(nn.Layer):
    """Linear, 3 x 3 depth-wise convolution (zeros beyond the edge), GELU, Linear: [B, H, W, dim] -> the same.

    The convolution comes before the activation, and starts at N(0, 2/9).

    Args:
        dim: channels in and out.
        hidden_dim: channels between.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        checks.whole(self, 1, dim=dim, hidden_dim=hidden_dim)
        self.hidden_dim = hidden_dim
        self.fc1 = Linear(dim, hidden_dim)
        self.dwconv = Conv2D(
            hidden_dim,
            hidden_dim,
            3,
            padding=1,
            groups=hidden_dim,
            weight_attr=init.attr(init.Gaussian(math.sqrt(2 / 9))),
            bias_attr=init.attr(init.Zeros()),
        )
        self.fc2 = Linear(hidden_dim, dim)

    def forward(self, x):
        y = self.dwconv(self.fc1(x).transpose([0, 3, 1, 2]))  # [B, hidden_dim, H, W]
        return self.fc2(F.gelu(y).transpose([0, 2, 3, 1]))
