"""What the quick configurations are expected to reach, beside what runs of them reached, with a verdict in words."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

from ppcore.report import metric_specs, summary
from ppcore.report.ablation_tables import of_config
from ppcore.report.published import PaperTables, Quick
from ppcore.report.run_data import Run

CONFIDENCE = 0.95


def expectations(runs: Sequence[Run], paper: PaperTables) -> list[dict]:
    """Sets every quick configuration's expectation beside what its finished runs reached.

    Returns:
        One dict a configuration: its fields, `metric`, `ours` (every run, finished or not) and `reached`: `mean`
        and sample standard deviation `spread` over the finished runs, their `seeds`, `why_none` where they have no
        common mean, `difference` to the expected mean, the range `low` to `high` in which that many runs are
        expected, `outcome` (within, better, worse or unknown) and `verdict`, the same in words.
    """
    return [_expectation(quick, [run for run in runs if of_config(run, quick.config)]) for quick in paper.quick]


def _expectation(quick: Quick, runs: Sequence[Run]) -> dict:
    unit = metric_specs.of(quick.metric)
    measured = [run for run in runs if run.result and run.result.get(unit.key) is not None]
    ours = [
        {
            "run": run.name,
            "seed": run.seed,
            "value": unit.written(run.result[unit.key]),
            "n": run.result["n"],
            "seconds": run.seconds,
            "finished": run.end is not None,
        }
        for run in measured
    ]
    return {**quick.model_dump(), "metric": summary.unit_facts(unit), "ours": ours, "reached": _reached(quick, ours)}


def _reached(quick: Quick, ours: Sequence[dict]) -> dict:
    finished = [run for run in ours if run["finished"]]
    values, seeds = [run["value"] for run in finished], [run["seed"] for run in finished]
    why_none = ""
    if not finished:
        why_none = "no finished run" if ours else "not measured"
    elif len({run["n"] for run in finished}) > 1:
        why_none = "the runs were evaluated on different numbers of images"
    if why_none:
        values, seeds = [], []
    found = {
        "mean": statistics.fmean(values) if values else None,
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": seeds,
        "why_none": why_none,
    }
    return {**found, **_judged(quick, found, finished[0]["n"] if values else None)}


def _judged(quick: Quick, found: dict, n: int | None) -> dict:
    """How the mean lies to the expected one; the parts that do not apply are None."""
    unit = metric_specs.of(quick.metric)
    unknown = {"difference": None, "low": None, "high": None, "outcome": "unknown", "verdict": ""}
    if quick.expected is None or found["mean"] is None:
        return unknown
    if quick.test_images not in (None, n):
        return {**unknown, "verdict": f"not comparable: {n:,} test images instead of {quick.test_images:,}"}
    difference = found["mean"] - quick.expected
    reach = margin(quick.spread, quick.seeds, found["spread"], len(found["seeds"]))
    if reach is None:
        verdict = f"{difference:+.{unit.digits}f}; single seeds show no spread to judge it by".replace("-", "−")
        return {**unknown, "difference": difference, "verdict": verdict}
    judged = {"difference": difference, "low": quick.expected - reach, "high": quick.expected + reach}
    if abs(difference) <= reach + 0.5 * 10**-unit.digits:  # the expectation is rounded to these digits
        return {**judged, "outcome": "within", "verdict": "within the spread"}
    outcome = "better" if unit.better(found["mean"], quick.expected) else "worse"
    side = "above" if difference > 0 else "below"
    return {**judged, "outcome": outcome, "verdict": f"{side} by {abs(difference):.{unit.digits}f}"}


def margin(spread: float | None, seeds: int | None, own_spread: float | None, own_seeds: int) -> float | None:
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
    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * deviation * math.sqrt(1 / (seeds or 1) + 1 / own_seeds)
