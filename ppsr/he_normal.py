"""He's initialiser of layers that end in a ReLU."""

import math

import paddle
from paddle.nn.initializer import Initializer

from ppcore.layers.init import fans


class HeNormal(Initializer):
    """N(0, 2 / fan_in) of a convolution (He et al. 2015), the same on every release of Paddle."""

    def forward(self, var, block=None):
        """Draws a parameter anew."""
        std = math.sqrt(2.0 / fans(list(var.shape))[0])
        with paddle.no_grad():
            paddle.assign((paddle.randn(list(var.shape)) * std).astype(var.dtype), output=var)
        return var
