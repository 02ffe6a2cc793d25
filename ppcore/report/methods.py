"""Our networks beside other methods on the same test images, as a table a quick config."""

import statistics
from collections.abc import Mapping, Sequence

from ppcore.metrics.spec import MetricSpec
from ppcore.report import metric_specs
from ppcore.report.ablation_tables import of_config
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run
from ppcore.report.summary import unit_facts


def methods(paper: PaperTables, runs: Sequence[Run], measured: Sequence[Mapping]) -> list[dict]:
    """Sets every config's runs beside the methods evaluated on its test images.

    Args:
        paper: the paper's tables.
        runs: runs of ours; those of other configs are ignored, unfinished ones left out.
        measured: as `ppcore.reproduce.qualitative.methods` gives them.

    Returns:
        One dict a config: `dataset`, `note`, `protocol`, `metrics`, `rows` (ours first, the others best first)
        with `numbers` {key: value, spread}, and what the others' best is and how far ours is ahead of it in
        the headline metric (`best`, `margin`, of the means; None without a run of ours). `also` says the same
        of the other metrics; a number that no row exceeds is marked `best`.
    """
    return [_table(item, paper, runs) for item in measured]


def _table(item: Mapping, paper: PaperTables, runs: Sequence[Run]) -> dict:
    quick = next(quick for quick in paper.quick if quick.config == item["config"])
    shown = metric_specs.present(item["rows"])
    unit = metric_specs.of(quick.metric)
    own = [run for run in runs if of_config(run, quick.config) and run.end and run.result]
    own = [run for run in own if run.result["n"] == item["rows"][0]["n"]]
    others = [_row(row["method"], [row], shown) for row in item["rows"]]
    others.sort(key=lambda row: row["numbers"][unit.key]["value"], reverse=unit.higher_is_better)
    ours = [_row(f"{own[0].builder} (ours, trained here)", [run.result for run in own], shown)] if own else []
    for one in shown:
        numbers = [row["numbers"][one.key] for row in [*ours, *others]]
        top = (max if one.higher_is_better else min)(number["value"] for number in numbers)
        for number in numbers:
            number["best"] = number["value"] == top
    against = {one.key: _against(one, ours, others) for one in shown}
    return {
        "config": quick.config,
        "dataset": quick.dataset,
        "note": quick.note,
        "protocol": item["protocol"],
        "metrics": [unit_facts(one) for one in shown],
        "n": item["rows"][0]["n"],
        "rows": [*({**row, "ours": True} for row in ours), *({**row, "ours": False} for row in others)],
        "seeds": [run.seed for run in own],
        "each": [unit.written(run.result[unit.key]) for run in own],
        **against.pop(unit.key),
        "also": list(against.values()) if ours else [],
    }


def _against(unit: MetricSpec, ours: Sequence[Mapping], others: Sequence[Mapping]) -> dict:
    """How far ours is ahead of the best other method in one metric."""

    def value(row: Mapping) -> float:
        return row["numbers"][unit.key]["value"]

    best = (max if unit.higher_is_better else min)(others, key=value)
    margin = value(ours[0]) - value(best) if ours else None
    return {
        "metric": unit_facts(unit),
        "best": {"method": best["method"], "value": value(best)},
        "margin": margin,
        "better": margin is not None and (margin > 0) is unit.higher_is_better,
    }


def _row(method: str, results: Sequence[Mapping], shown: Sequence[MetricSpec]) -> dict:
    numbers = {}
    for unit in shown:
        values = [unit.written(result[unit.key]) for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else None
        numbers[unit.key] = {"value": statistics.fmean(values), "spread": spread}
    seconds = statistics.fmean(result["seconds"] / result["n"] for result in results)
    return {"method": method, "numbers": numbers, "seconds": seconds}
