"""Fully connected layer with the field's initialisation."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import init


class Linear(nn.Linear):
    """`paddle.nn.Linear` that starts at truncated normal std .02 and zero bias (timm, DeiT).

    The weight is (in, out), Paddle's layout.

    Eager on a CPU, a layer that widens takes its bias into the product, [x, 1] @ [W; b]: Paddle adds
    a bias, and sums its gradient, in single-threaded loops over the output. Measured forward and
    backward on 2 AVX2 cores for 3152 rows: 192 to 768, 63 ms plain and 37 ms so; 192 to 576, 45 and
    29. A layer that narrows gains nothing (the copy of x costs what the loops did) and stays plain.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True):
        super().__init__(
            in_features,
            out_features,
            weight_attr=init.attr(init.TruncNormal(0.02)),
            bias_attr=init.attr(init.Zeros()) if bias else False,
        )
        self.widens = bias and out_features > in_features

    def forward(self, x):
        if self.widens and paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32:
            one = paddle.ones([*x.shape[:-1], 1])
            return paddle.matmul(paddle.concat([x, one], -1), paddle.concat([self.weight, self.bias.unsqueeze(0)]))
        return F.linear(x, self.weight, self.bias)
