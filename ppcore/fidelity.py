"""Comparing with a reference: what a row is, how a gap is measured, and the level every paper shares."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn as nn

OF_MAX, RELATIVE = "max |difference| / max |reference|", "largest relative difference"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        level: 1 structure, 2 forward, 3 gradients, 4 training, 5 trained weights.
        what: what was compared.
        measured: the gap, in the unit `kind`.
        tolerance: the largest gap that passes.
        kind: how the gap is measured.
    """

    level: int
    what: str
    measured: float
    tolerance: float
    kind: str

    @property
    def passed(self) -> bool:
        """Within tolerance; NaN is not."""
        return bool(self.measured <= self.tolerance)


def of_max(got: np.ndarray, want: np.ndarray) -> float:
    """max |got - want| / max |want|."""
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    return float(np.abs(np.float64(got) - want).max() / np.abs(want).max())


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """max (|got - want| / |want|)."""
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    return float((np.abs(np.float64(got) - want) / np.abs(want)).max())


def count_parameters(builder: Callable[[], nn.Layer]) -> int:
    """Parameters of a builder's default model, without allocating them."""
    with paddle.LazyGuard():
        model = builder()
    return sum(int(np.prod(p.shape)) for p in model.parameters())
