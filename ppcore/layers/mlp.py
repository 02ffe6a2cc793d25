"""The feed-forward half of a transformer block."""

from typing import Literal

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks
from ppcore.layers.linear import Linear

Activation = Literal["gelu", "gelu_tanh", "relu"]

ACTIVATIONS = {
    "gelu": F.gelu,  # exact, by erf: timm, DeiT
    "gelu_tanh": lambda x: F.gelu(x, approximate=True),  # Google's JAX code (flax default)
    "relu": F.relu,
}


class Mlp(nn.Layer):
    """Linear, activation, dropout, Linear, dropout (ViT, eq. 3 and appendix A).

    Args:
        dim: channels in and out.
        hidden_dim: channels between.
        act: `gelu` (erf), `gelu_tanh` or `relu`.
        drop: dropout rate after both linear layers.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(self, dim: int, hidden_dim: int, *, act: Activation = "gelu", drop: float = 0.0):
        super().__init__()
        checks.whole(self, 1, dim=dim, hidden_dim=hidden_dim)
        checks.choice(self, tuple(ACTIVATIONS), act=act)
        checks.rate(self, drop=drop)
        self.act = act
        self.fc1 = Linear(dim, hidden_dim)
        self.drop1 = nn.Dropout(drop)
        self.fc2 = Linear(hidden_dim, dim)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x):
        x = self.drop1(ACTIVATIONS[self.act](self.fc1(x)))
        return self.drop2(self.fc2(x))
