"""What a difference between two small experiments shows of a published one, and with what uncertainty."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SAME = "same direction as the paper"
OPPOSITE = "opposite direction"
UNCLEAR = "not distinguishable at this scale"
TIE = "the paper shows a tie"
NO_NUMBER = "the paper gives no number"
NOT_RUN = "not run"
BAR = 2.0  # standard errors that a difference must reach to count


@dataclass(frozen=True)
class Difference:
    """Mean of one experiment minus that of another; the standard error is None below two seeds a side."""

    mean: float
    standard_error: float | None
    paired: bool
    seeds: int

    @property
    def clear(self) -> bool:
        """Whether it is at least `BAR` standard errors, and not zero."""
        return self.standard_error is not None and self.mean != 0 and abs(self.mean) >= BAR * self.standard_error


def difference(ours: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Compares two experiments given as {seed: value}.

    With the same seeds on both sides the differences are taken seed by seed, whose spread gives the
    standard error; otherwise both means are taken as independent.

    Returns:
        The difference, `seeds` being the fewer of the two sides; None when a side has no value.
    """
    if not ours or not other:
        return None
    mean = statistics.fmean(ours.values()) - statistics.fmean(other.values())
    seeds = min(len(ours), len(other))
    paired = ours.keys() == other.keys()
    if seeds < 2:
        error = None
    elif paired:
        error = statistics.stdev(ours[seed] - other[seed] for seed in ours) / math.sqrt(seeds)
    else:
        error = math.sqrt(sum(statistics.variance(side.values()) / len(side) for side in (ours, other)))
    mean = 0.0 if abs(mean) < 1e-9 else mean  # rounding of the means is no difference
    return Difference(mean, error, paired, seeds)


def verdict(published: float | None, found: Difference | None) -> str:
    """Returns in words whether a difference of ours goes the way of the published one (None: not published)."""
    if found is None:
        return NOT_RUN
    if published is None:
        return NO_NUMBER
    if abs(published) < 1e-9:
        return TIE
    if not found.clear:
        return UNCLEAR
    return SAME if (found.mean > 0) == (published > 0) else OPPOSITE


def chance(seeds: int) -> float:
    """Returns how often pure chance passes the bar: P(|t| > BAR) with seeds - 1 degrees of freedom (paired seeds)."""
    freedom = seeds - 1
    # The density falls like t^-seeds; with t = tan(u) the tail is an integral over a finite range.
    u = np.linspace(math.atan(BAR / math.sqrt(freedom)), math.pi / 2, 20_001)
    density = np.cos(u) ** (freedom - 1)
    everything = np.cos(np.linspace(0, math.pi / 2, 20_001)) ** (freedom - 1)
    return float(_area(density, u[1] - u[0]) / _area(everything, (math.pi / 2) / 20_000))


def _area(values: np.ndarray, step: float) -> float:
    """Trapezoidal rule."""
    return step * (values.sum() - (values[0] + values[-1]) / 2)
