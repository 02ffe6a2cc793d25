"""The paper's ablations beside ours at quick scale: numbers, differences, and words for what they show."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ppcore.metrics.spec import MetricSpec
from ppcore.report import significance
from ppcore.report.comparisons import Ablation, AblationRow
from ppcore.report.content_types import AblationEvaluation
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run


def ablation_tables(paper: PaperTables, runs: Sequence[Run], evaluations: Sequence[AblationEvaluation]) -> list[dict]:
    """Sets every ablation's published rows beside our runs.

    Args:
        paper: the paper's tables.
        runs: runs of ours; those of other configs are ignored.
        evaluations: weights evaluated once more.

    Returns:
        One dict an ablation: what it is, `datasets`, `rows` with `published` and `ours` (one entry a data
        set), `comparisons` (each row against the row above and against the first) with their `significance` in
        words, and `summary` (how often each of these a data set). In the metric's unit.
    """
    return [_table(ablation, paper, runs, evaluations) for ablation in paper.ablations]


def _table(
    ablation: Ablation, paper: PaperTables, runs: Sequence[Run], evaluations: Sequence[AblationEvaluation]
) -> dict:
    tried = {config for row in ablation.rows for config in row.quick}
    datasets = list(dict.fromkeys(item.dataset for item in paper.quick if item.config in tried))
    metric = paper.metric(ablation.metric)
    evaluations = [one for one in evaluations if one.ablation == ablation.id]
    rows = []
    for row in ablation.rows:
        configs = {paper.quick_of(config).dataset: config for config in row.quick}
        ours = [_cell(metric, row, name, configs.get(name), runs, evaluations) for name in datasets]
        rows.append({"name": row.name, "published": row.published, "eval_options": row.eval_options, "ours": ours})
    comparisons = [_compare(rows[0], rows[1], ("above", "first"))]
    comparisons += [_compare(above, row, ("above",)) for above, row in pairwise(rows[1:])]
    comparisons += [_compare(rows[0], row, ("first",)) for row in rows[2:]]
    return {
        **ablation.model_dump(include={"id", "title", "published_on", "note"}),
        "metric": metric,
        "source": paper.cite(ablation.source),
        "digits": _decimals(row.published for row in ablation.rows),
        "datasets": datasets,
        "rows": rows,
        "comparisons": comparisons,
        "summary": [_summary(name, number, comparisons) for number, name in enumerate(datasets)],
        "chance": _chance(comparisons),
    }


def _decimals(values: Iterable[float | None]) -> int:
    """Decimals of the published column: as many as its figures have; papers' accuracies mostly have one."""
    return max([1, *(len(repr(float(value)).partition(".")[2]) for value in values if value is not None)])


def _cell(
    metric: MetricSpec,
    row: AblationRow,
    dataset: str,
    config: str | None,
    runs: Sequence[Run],
    evaluations: Sequence[AblationEvaluation],
) -> dict:
    """What our runs of one config reached: mean and sample standard deviation over seeds, or why not."""
    if row.eval_options:
        mine = [one for one in evaluations if (one.row, one.config) == (row.name, config)]
        results = [(one.run, one.seed, one.numbers[metric.key], one.n) for one in mine]
        unfinished = 0
    else:
        own = [run for run in runs if run.trained_with(config)] if config else []
        ended = [run for run in own if run.end and run.result]
        results = [(run.name, run.seed, run.result[metric.key], run.result["n"]) for run in ended]
        unfinished = len(own) - len(ended)
    values = [{"run": name, "seed": seed, "value": metric.written(number)} for name, seed, number, _ in results]
    images = {n for *_, n in results}
    why_none = ""
    if not values:
        why_none = f"{significance.NOT_RUN}{' to the end' if unfinished else ''}"
    elif len(images) > 1:
        why_none = "the runs were evaluated on different numbers of images"
    elif len({value["seed"] for value in values}) < len(values):
        why_none = "two runs have the same seed"
    numbers = [] if why_none else [value["value"] for value in values]
    return {
        "dataset": dataset,
        "config": config,
        "values": values,
        "mean": statistics.fmean(numbers) if numbers else None,
        "spread": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "seeds": len(numbers),
        "n": images.pop() if numbers else None,
        "unfinished": unfinished,
        "why_none": why_none,
    }


def _compare(base: dict, row: dict, against: tuple[str, ...]) -> dict:
    """One comparison: `row` minus `base`, in the paper and on each data set of ours."""
    numbers = row["published"], base["published"]
    published = None if None in numbers else numbers[0] - numbers[1]
    ours = []
    for mine, other in zip(row["ours"], base["ours"], strict=True):
        alike = mine["n"] == other["n"]  # another test set is another measurement
        gap = significance.difference(_by_seed(mine), _by_seed(other)) if alike else None
        ours.append(
            {
                "dataset": mine["dataset"],
                "difference": gap.mean if gap else None,
                "standard_error": gap.standard_error if gap else None,
                "paired": gap.paired if gap else None,
                "seeds": gap.seeds if gap else 0,
                "significance": significance.in_words(published, gap),
            }
        )
    return {"row": row["name"], "base": base["name"], "against": list(against), "published": published, "ours": ours}


def _by_seed(cell: dict) -> dict[int, float]:
    return {} if cell["why_none"] else {value["seed"]: value["value"] for value in cell["values"]}


def _summary(dataset: str, number: int, comparisons: Sequence[dict]) -> dict:
    """How the steps of the paper's order came out on one data set."""
    words = [item["ours"][number]["significance"] for item in comparisons]
    counts = {key: words.count(text) for key, text in significance.WORDS.items()}
    return {"dataset": dataset, "comparisons": len(words), **counts}


def _chance(comparisons: Sequence[dict]) -> dict | None:
    """How often chance alone passes the bar, for the fewest seeds that were compared."""
    seeds = [ours["seeds"] for item in comparisons for ours in item["ours"] if ours["seeds"] > 1]
    return {"seeds": min(seeds), "share": significance.chance(min(seeds))} if seeds else None
