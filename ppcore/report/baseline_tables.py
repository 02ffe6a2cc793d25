"""Our networks beside other methods on the same test images, as a table a quick config."""

import statistics
from collections.abc import Mapping, Sequence

from ppcore.metrics.spec import MetricSpec
from ppcore.report.content_types import Baselines
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run


def baseline_tables(paper: PaperTables, runs: Sequence[Run], measured: Sequence[Baselines]) -> list[dict]:
    """Sets every config's runs beside the methods evaluated on its test images.

    Args:
        paper: the paper's tables.
        runs: runs of ours; those of other configs are ignored, unfinished ones left out.
        measured: other methods, at least one a config.

    Returns:
        One dict a config: `dataset`, `note`, `protocol`, `metrics`, `rows` (ours first, the others best first)
        with `numbers` {key: value, spread}, and what the others' best is and how far ours is ahead of it in
        the config's metric (`best`, `margin`, of the means; None without a run of ours). `also` says the same
        of the other metrics; a number that no row exceeds is marked `best`.
    """
    return [_table(item, paper, runs) for item in measured]


def _table(measured: Baselines, paper: PaperTables, runs: Sequence[Run]) -> dict:
    quick = paper.quick_of(measured.config)
    metric, n = paper.metric(quick.metric), measured.results[0].n
    own = [run for run in runs if run.trained_with(quick.config) and run.end and run.result]
    own = [run for run in own if run.result["n"] == n]
    others = [
        _row(one.method, [one.numbers], one.seconds / one.n, measured.metrics, ours=False) for one in measured.results
    ]
    others.sort(key=lambda row: row["numbers"][metric.key]["value"], reverse=metric.higher_is_better)
    ours = []
    if own:
        seconds = statistics.fmean(run.result["seconds"] / n for run in own)
        name = f"{own[0].builder} (ours, trained here)"
        ours = [_row(name, [run.result for run in own], seconds, measured.metrics, ours=True)]
    for one in measured.metrics:
        top = _best(one, [*ours, *others])["numbers"][one.key]["value"]
        for row in [*ours, *others]:
            row["numbers"][one.key]["best"] = row["numbers"][one.key]["value"] == top
    against = {one.key: _against(one, ours, others) for one in measured.metrics}
    return {
        "config": quick.config,
        "dataset": quick.dataset,
        "note": quick.note,
        "protocol": measured.protocol,
        "metrics": list(measured.metrics),
        "n": n,
        "rows": [*ours, *others],
        "seeds": [run.seed for run in own],
        "each": [metric.written(run.result[metric.key]) for run in own],
        **against.pop(metric.key),
        "also": list(against.values()) if ours else [],
    }


def _best(metric: MetricSpec, rows: Sequence[dict]) -> dict:
    """The row that is best in a metric."""
    return (max if metric.higher_is_better else min)(rows, key=lambda row: row["numbers"][metric.key]["value"])


def _against(metric: MetricSpec, ours: Sequence[dict], others: Sequence[dict]) -> dict:
    """How far ours is ahead of the best other method in one metric."""
    best = _best(metric, others)
    value = best["numbers"][metric.key]["value"]
    margin = ours[0]["numbers"][metric.key]["value"] - value if ours else None
    return {
        "metric": metric,
        "best": {"method": best["method"], "value": value},
        "margin": margin,
        "better": margin is not None and (margin > 0) is metric.higher_is_better,
    }


def _row(
    method: str, results: Sequence[Mapping[str, float]], seconds: float, metrics: Sequence[MetricSpec], *, ours: bool
) -> dict:
    """A row of the table; `seconds` an image."""
    numbers = {}
    for one in metrics:
        values = [one.written(result[one.key]) for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else None
        numbers[one.key] = {"value": statistics.fmean(values), "spread": spread}
    return {"method": method, "numbers": numbers, "seconds": seconds, "ours": ours}
