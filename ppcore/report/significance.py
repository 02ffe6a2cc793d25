"""What a difference between two small experiments shows of a published one, and with what uncertainty."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

SAME = "same direction as the paper"
OPPOSITE = "opposite direction"
UNCLEAR = "not distinguishable at this scale"
TIE = "the paper shows a tie"
NO_NUMBER = "the paper gives no number"
NOT_RUN = "not run"
WORDS = {
    "same": SAME, "opposite": OPPOSITE, "unclear": UNCLEAR, "tie": TIE, "no_number": NO_NUMBER, "not_run": NOT_RUN,
}  # fmt: skip
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


def in_words(published: float | None, ours: Difference | None) -> str:
    """Returns in words whether a difference of ours goes the way of the published one (None: not published)."""
    if ours is None:
        return NOT_RUN
    if published is None:
        return NO_NUMBER
    if abs(published) < 1e-9:
        return TIE
    if not ours.clear:
        return UNCLEAR
    return SAME if (ours.mean > 0) == (published > 0) else OPPOSITE


def chance(seeds: int) -> float:
    """Returns how often pure chance passes the bar: P(|t| > BAR) with seeds - 1 degrees of freedom (paired seeds)."""
    return float(2 * stats.t.sf(BAR, df=seeds - 1))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval, in percent, of a share 0..1 observed over `n` trials."""
    interval = stats.binomtest(round(share * n), n).proportion_ci(0.95, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def prediction_margin(
    spread: float | None, seeds: int | None, own_spread: float | None, own_seeds: int
) -> float | None:
    """Half width of the 95 % prediction interval around an expected mean for the mean of some new runs.

    t · s · √(1/n + 1/m), with s and the degrees of freedom of the expectation; of the new runs where the expectation
    is of one seed (Hahn and Meeker, Statistical Intervals: the mean of m future observations).

    Args:
        spread: sample standard deviation of the expectation; None for one seed.
        seeds: how many seeds n it is of.
        own_spread: that of the new runs.
        own_seeds: how many they are, m.

    Returns:
        The half width in the unit of the spread; None where neither side has two seeds.
    """
    if spread is not None and (seeds or 0) > 1:
        deviation, freedom = spread, seeds - 1
    elif own_spread is not None and own_seeds > 1:
        deviation, freedom = own_spread, own_seeds - 1
    else:
        return None
    return float(stats.t.ppf(0.975, df=freedom)) * deviation * math.sqrt(1 / (seeds or 1) + 1 / own_seeds)
