"""Initialisers of the papers, ours because Paddle's changed meaning between releases.

`paddle.nn.initializer.TruncatedNormal(std=.02)` cuts at two standard deviations on 2.6.2
(real std 0.0176) and at ±2 absolute on 3.3.1 (0.0200); Paddle's default convolution init has
2.45 times the spread of torch's. The classes below mean the same on every release, draw from
Paddle's own generator (so `paddle.seed` governs them) and work under `paddle.LazyGuard`.
"""

import math

import numpy as np
import paddle
import paddle.nn as nn
from paddle.nn.initializer import Assign, Constant, Initializer


def fans(shape: list[int]) -> tuple[int, int]:
    """Returns (fan_in, fan_out) of a Paddle weight: (in, out) linear or (out, in, kh, kw) conv."""
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) == 4:
        receptive = shape[2] * shape[3]
        return shape[1] * receptive, shape[0] * receptive
    raise ValueError(f"fans are defined for 2-D and 4-D weights, not for shape {list(shape)}")


class _Drawn(Initializer):
    """An initialiser given by `draw(shape) -> float32 tensor`."""

    def draw(self, shape: list[int]) -> paddle.Tensor:
        raise TypeError(f"{type(self).__name__} must define draw()")

    def forward(self, var, block=None):
        with paddle.no_grad():
            paddle.assign(self.draw(list(var.shape)).astype(var.dtype), output=var)
        return var


class TruncNormal(_Drawn):
    """Normal(mean 0, std) restricted to [low, high], *absolute* bounds as in torch and timm.

    With std .02 and the default bounds ±2 the restriction is at 100 standard deviations: the
    tensor is a plain normal one. `TruncNormal.at_sigmas` cuts at multiples of the spread.
    """

    def __init__(self, std: float = 0.02, low: float = -2.0, high: float = 2.0):
        super().__init__()
        self.std, self.low, self.high = std, low, high

    @classmethod
    def at_sigmas(cls, std: float, sigmas: float = 2.0) -> "TruncNormal":
        """Cut at ±`sigmas`·std and widened so that the *resulting* std is `std` (flax's convention)."""
        # Spread of a unit normal truncated at ±s: sqrt(1 - 2 s φ(s) / (2 Φ(s) - 1)); 0.87962566 for s = 2.
        phi = math.exp(-(sigmas**2) / 2) / math.sqrt(2 * math.pi)
        spread = math.sqrt(1 - 2 * sigmas * phi / math.erf(sigmas / math.sqrt(2)))
        widened = std / spread
        return cls(widened, -sigmas * widened, sigmas * widened)

    def draw(self, shape):
        low, high = (math.erf(bound / self.std / math.sqrt(2)) for bound in (self.low, self.high))
        # float32 erfinv is infinite at ±1: the largest value kept is about 5.4 standard deviations.
        edge = 1 - 2.0**-23
        u = paddle.uniform(shape, min=max(low, -edge), max=min(high, edge))
        return paddle.clip(paddle.erfinv(u) * (self.std * math.sqrt(2)), self.low, self.high)


class Gaussian(_Drawn):
    """Normal(0, std)."""

    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def draw(self, shape):
        return paddle.randn(shape) * self.std


class UniformFanIn(_Drawn):
    """U(±1/sqrt(fan_in)): torch's default for convolutions, and for the biases beside them."""

    def __init__(self, fan_in: int | None = None):
        super().__init__()
        self.fan_in = fan_in

    def draw(self, shape):
        bound = 1 / math.sqrt(self.fan_in or fans(shape)[0])
        return paddle.uniform(shape, min=-bound, max=bound)


class XavierUniform(_Drawn):
    """U(±sqrt(6/(fan_in + fan_out))) (Glorot); `parts` > 1 for a weight fused along its output axis."""

    def __init__(self, parts: int = 1):
        super().__init__()
        self.parts = parts

    def draw(self, shape):
        fan_in, fan_out = fans(shape)
        bound = math.sqrt(6 / (fan_in + fan_out / self.parts))
        return paddle.uniform(shape, min=-bound, max=bound)


class LecunNormal(_Drawn):
    """Truncated normal at two sigmas with variance 1/fan_in (flax's default for convolutions)."""

    def draw(self, shape):
        return TruncNormal.at_sigmas(1 / math.sqrt(fans(shape)[0])).draw(shape)


Zeros, Ones = lambda: Constant(0.0), lambda: Constant(1.0)


def attr(initializer: Initializer) -> paddle.ParamAttr:
    """Shorthand for `paddle.ParamAttr(initializer=…)`."""
    return paddle.ParamAttr(initializer=initializer)


def reset(parameter: paddle.Tensor, initializer: Initializer) -> None:
    """Re-draws `parameter` in place."""
    initializer(parameter, None)


def parameter(layer: nn.Layer, value: np.ndarray) -> paddle.Tensor:
    """A parameter of `layer` with this value, float32."""
    value = np.ascontiguousarray(value, "float32")
    return layer.create_parameter(list(value.shape), default_initializer=Assign(value))
