"""The feed-forward half of LITv2's blocks: a depth-wise convolution inside the MLP tells where a token is."""

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import Linear, checks
from pplit.depthwise_conv import DepthwiseConv


class ConvFFN(nn.Layer):
    """Linear, 3 x 3 depth-wise convolution (zeros beyond the edge), GELU, Linear: [B, H, W, dim] -> the same.

    The convolution comes before the activation.

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
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = Linear(hidden_dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))
