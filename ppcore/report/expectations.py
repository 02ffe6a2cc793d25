"""What the quick configurations are expected to reach, beside what runs of them reached, with a verdict in words."""

import statistics
from collections.abc import Sequence

from ppcore.metrics.spec import MetricSpec
from ppcore.report.published import PaperTables, Quick
from ppcore.report.run_data import Run
from ppcore.report.significance import prediction_margin


def expectations(runs: Sequence[Run], paper: PaperTables) -> list[dict]:
    """Sets every quick configuration's expectation beside what its finished runs reached.

    Returns:
        One dict a configuration: its fields, `metric`, `ours` (every run, finished or not) and `reached`: `mean`
        and sample standard deviation `spread` over the finished runs, their `seeds`, `why_none` where they have no
        common mean, `difference` to the expected mean, the range `low` to `high` in which that many runs are
        expected, `outcome` (within, better, worse or unknown) and `verdict`, the same in words.
    """
    return [
        _expectation(quick, paper.metric(quick.metric), [run for run in runs if run.trained_with(quick.config)])
        for quick in paper.quick
    ]


def _expectation(quick: Quick, metric: MetricSpec, runs: Sequence[Run]) -> dict:
    ours = [
        {
            "run": run.name,
            "seed": run.seed,
            "value": metric.written(run.result[metric.key]),
            "n": run.result["n"],
            "seconds": run.seconds,
            "finished": run.end is not None,
        }
        for run in runs
        if run.result and run.result.get(metric.key) is not None
    ]
    return {**quick.model_dump(), "metric": metric, "ours": ours, "reached": _reached(quick, metric, ours)}


def _reached(quick: Quick, metric: MetricSpec, ours: Sequence[dict]) -> dict:
    finished = [run for run in ours if run["finished"]]
    values, seeds = [run["value"] for run in finished], [run["seed"] for run in finished]
    why_none = ""
    if not finished:
        why_none = "no finished run" if ours else "not measured"
    elif len({run["n"] for run in finished}) > 1:
        why_none = "the runs were evaluated on different numbers of images"
    if why_none:
        values, seeds = [], []
    reached = {
        "mean": statistics.fmean(values) if values else None,
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": seeds,
        "why_none": why_none,
    }
    return {**reached, **_judged(quick, metric, reached, finished[0]["n"] if values else None)}


def _judged(quick: Quick, metric: MetricSpec, reached: dict, n: int | None) -> dict:
    """How the mean lies to the expected one; the parts that do not apply are None."""
    unknown = {"difference": None, "low": None, "high": None, "outcome": "unknown", "verdict": ""}
    if quick.expected is None or reached["mean"] is None:
        return unknown
    if quick.test_images not in (None, n):
        return {**unknown, "verdict": f"not comparable: {n:,} test images instead of {quick.test_images:,}"}
    difference = reached["mean"] - quick.expected
    margin = prediction_margin(quick.spread, quick.seeds, reached["spread"], len(reached["seeds"]))
    if margin is None:
        verdict = f"{difference:+.{metric.digits}f}; single seeds show no spread to judge it by".replace("-", "−")
        return {**unknown, "difference": difference, "verdict": verdict}
    judged = {"difference": difference, "low": quick.expected - margin, "high": quick.expected + margin}
    if abs(difference) <= margin + 0.5 * 10**-metric.digits:  # the expectation is rounded to these digits
        return {**judged, "outcome": "within", "verdict": "within the spread"}
    outcome = "better" if metric.better(reached["mean"], quick.expected) else "worse"
    side = "above" if difference > 0 else "below"
    return {**judged, "outcome": outcome, "verdict": f"{side} by {abs(difference):.{metric.digits}f}"}
