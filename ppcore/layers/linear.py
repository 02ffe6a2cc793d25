"""Fully connected layer with the field's initialisation."""

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import init


class Linear(nn.Linear):
    """`paddle.nn.Linear` that starts at truncated normal std .02 and zero bias (timm, DeiT).

    The weight is (in, out), Paddle's layout.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True):
        super().__init__(
            in_features,
            out_features,
            weight_attr=init.attr(init.TruncNormal(0.02)),
            bias_attr=init.attr(init.Zeros()) if bias else False,
        )

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)
