"""The head of a linear probe: a batch norm without scale and shift, and a linear layer (MAE's linear evaluation)."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import init


class FeatureNorm(nn.Layer):
    """Batch norm of features without scale and shift, of this process's batch; running variances are unbiased, as torch's.

    (Paddle's own, on a CPU, keeps biased ones: 1.6 % less at a batch of 64.)

    Args:
        dim: channels.
        epsilon: added to variances.
        momentum: share of a new batch in the running statistics.

    Shape:
        [B, dim] -> [B, dim].
    """

    def __init__(self, dim: int, *, epsilon: float = 1e-6, momentum: float = 0.1):
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.register_buffer("running_mean", paddle.zeros([dim]))
        self.register_buffer("running_var", paddle.ones([dim]))

    def forward(self, x):
        if not self.training:
            return (x - self.running_mean) * paddle.rsqrt(self.running_var + self.epsilon)
        mean, variance = x.mean(axis=0), x.var(axis=0, unbiased=False)
        with paddle.no_grad():
            count = x.shape[0]
            for running, value in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                paddle.assign(running * (1 - self.momentum) + value * self.momentum, output=running)
        return (x - mean) * paddle.rsqrt(variance + self.epsilon)


class ProbeHead(nn.Layer):
    """Classifies frozen features.

    Args:
        dim: channels of the features.
        num_classes: classes.
        norm: whether features are normalised first (MAE; DINO and SimCLR do not).
        std: spread of the initial weights; biases are 0.

    Shape:
        [B, dim] -> [B, num_classes].
    """

    def __init__(self, dim: int, num_classes: int, *, norm: bool = True, std: float = 0.01):
        super().__init__()
        self.norm = FeatureNorm(dim) if norm else nn.Identity()
        self.linear = nn.Linear(
            dim, num_classes, weight_attr=init.attr(init.TruncNormal(std)), bias_attr=init.attr(init.Zeros())
        )

    def forward(self, x):
        return F.linear(self.norm(x), self.linear.weight, self.linear.bias)
