"""The paper's comparisons beside ours at quick scale: numbers, differences, and words for what they show."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ppcore.report import metric_specs, published_vs_ours, significance
from ppcore.report.comparisons import Claim, ClaimRow
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run
from ppcore.report.summary import unit_facts


def claims(paper: PaperTables, runs: Sequence[Run], evaluations: Sequence[Mapping]) -> list[dict]:
    """Sets every claim's published rows beside our runs.

    Args:
        paper: the paper's tables.
        runs: runs of ours; those of other configs are ignored.
        evaluations: weights evaluated once more, as `ppcore.reproduce.ablations` writes them.

    Returns:
        One dict a claim: what it is, `datasets`, `rows` with `published` and `ours` (one entry a data
        set), `comparisons` (each row against the row above and against the first) with a verdict a
        data set, and `summary` (counts of verdicts a data set). Accuracies in percent.
    """
    return [_claim(claim, paper, runs, evaluations) for claim in paper.claims]


def of_config(run: Run, config: str) -> bool:
    """Whether a run was trained with a config, by its command."""
    words = run.command.replace("=", " ").split()
    return any(word == config or word.endswith("/" + config) for word in words)


def _claim(claim: Claim, paper: PaperTables, runs: Sequence[Run], evaluations: Sequence[Mapping]) -> dict:
    named = {config for row in claim.rows for config in row.quick}
    datasets = list(dict.fromkeys(item.dataset for item in paper.quick if item.config in named))
    of_dataset = {item.config: item.dataset for item in paper.quick}
    rows = []
    for row in claim.rows:
        configs = {of_dataset[config]: config for config in row.quick}
        ours = [_cell(claim, row, name, configs.get(name), runs, evaluations) for name in datasets]
        rows.append({"name": row.name, "published": row.published, "eval_options": row.eval_options, "ours": ours})
    comparisons = [_compare(rows[0], rows[1], ("above", "first"))]
    comparisons += [_compare(above, row, ("above",)) for above, row in pairwise(rows[1:])]
    comparisons += [_compare(rows[0], row, ("first",)) for row in rows[2:]]
    return {
        **claim.model_dump(include={"id", "title", "published_on", "metric", "note"}),
        "unit": unit_facts(metric_specs.of(claim.metric)),
        "source": published_vs_ours.cite(claim.source, paper),
        "digits": _decimals(row.published for row in claim.rows),
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
    claim: Claim, row: ClaimRow, dataset: str, config: str | None, runs: Sequence[Run], evaluations: Sequence[Mapping]
) -> dict:
    """What our runs of one config reached: mean and sample standard deviation over seeds, or why not."""
    if row.eval_options:
        mine = [e for e in evaluations if (e["claim"], e["row"], e["config"]) == (claim.id, row.name, config)]
        found = [(e["run"], e["seed"], e) for e in mine]
        unfinished = 0
    else:
        own = [run for run in runs if config and of_config(run, config)]
        found = [(run.name, run.seed, run.result) for run in own if run.end and run.result]
        unfinished = len(own) - len(found)
    values = [
        {"run": name, "seed": seed, "value": metric_specs.of(claim.metric).written(result[claim.metric])}
        for name, seed, result in found
    ]
    images = {result["n"] for _, _, result in found}
    seeds = [value["seed"] for value in values]
    why_none = ""
    if not values:
        why_none = f"{significance.NOT_RUN}{' to the end' if unfinished else ''}"
    elif len(images) > 1:
        why_none = "the runs were evaluated on different numbers of images"
    elif len(set(seeds)) < len(seeds):
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
        found = significance.difference(_by_seed(mine), _by_seed(other))
        if found and mine["n"] != other["n"]:
            found = None  # another test set is another measurement
        ours.append(
            {
                "dataset": mine["dataset"],
                "difference": found.mean if found else None,
                "standard_error": found.standard_error if found else None,
                "paired": found.paired if found else None,
                "seeds": found.seeds if found else 0,
                "verdict": significance.verdict(published, found),
            }
        )
    return {"row": row["name"], "base": base["name"], "against": list(against), "published": published, "ours": ours}


def _by_seed(cell: dict) -> dict[int, float]:
    return {} if cell["why_none"] else {value["seed"]: value["value"] for value in cell["values"]}


def _summary(dataset: str, number: int, comparisons: Sequence[dict]) -> dict:
    """How the steps of the paper's order came out on one data set."""
    words = [item["ours"][number]["verdict"] for item in comparisons]
    names = {
        "same": significance.SAME, "opposite": significance.OPPOSITE, "unclear": significance.UNCLEAR, "tie": significance.TIE,
        "no_number": significance.NO_NUMBER, "not_run": significance.NOT_RUN,
    }  # fmt: skip
    counts = {key: words.count(text) for key, text in names.items()}
    return {"dataset": dataset, "comparisons": len(words), **counts}


def _chance(comparisons: Sequence[dict]) -> dict | None:
    """How often chance alone passes the bar, for the fewest seeds that were compared."""
    seeds = [ours["seeds"] for item in comparisons for ours in item["ours"] if ours["seeds"] > 1]
    return {"seeds": min(seeds), "share": significance.chance(min(seeds))} if seeds else None
