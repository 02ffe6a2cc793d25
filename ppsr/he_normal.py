"""He's initialiser of layers that end in a ReLU."""

import math

import paddle
from paddle.nn.initializer import Initializer

from ppcore.layers.init import fans


class HeNormal(Initializer):
    """N(0, 2 / fan_in) of a convolution (He et al. 2015), the same on every release of Paddle.

    Args:
        fan_out: use the outputs' number instead, 2 / fan_out, as pytorch-vdsr does.
    """

    def __init__(self, *, fan_out: bool = False):
        super().__init__()
        self.fan_out = fan_out

    def forward(self, var, block=None):
        """Draws a parameter anew."""
        std = math.sqrt(2.0 / fans(list(var.shape))[int(self.fan_out)])
        with paddle.no_grad():
            paddle.assign((paddle.randn(list(var.shape)) * std).astype(var.dtype), output=var)
        return var
