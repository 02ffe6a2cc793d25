"""The paper's findings as curves: ours by layer, over seeds, with the published points beside them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ppcore.report import published_vs_ours
from ppcore.report.comparisons import Finding
from ppcore.report.drawing import INK, SERIES, drawing
from ppcore.report.published import PaperTables


def findings(paper: PaperTables, measured: Sequence[Mapping]) -> list[dict]:
    """Gathers every finding's curves.

    Args:
        paper: the paper's tables.
        measured: one dict a finding and run, as `ppcore.reproduce.analyses` writes them.

    Returns:
        One dict a finding: what it is, `published` points with the layer `place` they stand at (None
        when there is no curve of ours), `layers` (number of the last), and `curves`, one a quick
        config: `mean`, `low`, `high` by layer over the seeds, or `why_none`.
    """
    return [_finding(item, paper, measured) for item in paper.findings]


def _finding(finding: Finding, paper: PaperTables, measured: Sequence[Mapping]) -> dict:
    datasets = {item.config: item.dataset for item in paper.quick}
    shown = [datasets[config] for config in finding.quick]
    curves = []
    for config in finding.quick:
        mine = [row for row in measured if (row["finding"], row["config"]) == (finding.id, config)]
        stem = next(item.name for item in paper.quick if item.config == config)
        label = datasets[config] if shown.count(datasets[config]) == 1 else f"{datasets[config]}, {stem}"
        curves.append({"config": config, "dataset": datasets[config], "label": label, **_over_seeds(mine)})
    last = max((len(curve["mean"]) - 1 for curve in curves if curve["mean"]), default=None)
    return {
        **finding.model_dump(include={"id", "title", "measure", "x", "y", "label", "note"}),
        "source": published_vs_ours.cite(finding.source, paper),
        "published": [
            {"x": point.x, "y": point.y, "place": None if last is None else point.place(last)}
            for point in finding.published
        ],
        "layers": last,
        "curves": curves,
    }


def _over_seeds(rows: Sequence[Mapping]) -> dict:
    """Mean and range by layer over the runs of one config."""
    lengths = {len(row["values"]) for row in rows}
    why_none = "" if len(lengths) == 1 else "not run" if not rows else "the runs have different numbers of layers"
    values = np.array([row["values"] for row in rows]) if not why_none else np.zeros((0, 0))
    return {
        "seeds": [row["seed"] for row in rows],
        "runs": [row["run"] for row in rows],
        "images": rows[0]["images"] if rows else None,
        "mean": values.mean(axis=0).tolist() if not why_none else [],
        "low": values.min(axis=0).tolist() if not why_none else [],
        "high": values.max(axis=0).tolist() if not why_none else [],
        "why_none": why_none,
    }


def figure(finding: Mapping) -> str | None:
    """Returns an SVG of a finding's curves with the published points; None when no curve was measured."""
    if finding["layers"] is None:
        return None

    def fill(axes: Axes) -> None:
        for number, curve in enumerate(finding["curves"]):
            colour, layers = SERIES[number % len(SERIES)], range(len(curve["mean"]))
            if len(curve["seeds"]) > 1:
                axes.fill_between(layers, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
            if curve["mean"]:
                axes.plot(layers, curve["mean"], "o-", color=colour, linewidth=1.8, markersize=3.5,
                          label=f"ours: {curve['label']}")  # fmt: skip
        points = [(point["place"], point["y"]) for point in finding["published"]]
        if points:
            axes.plot(*zip(*points, strict=True), "D", color=INK, markerfacecolor="none", markersize=8,
                      markeredgewidth=1.6, label="published, not ours")  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)

    return drawing(
        f"finding_{finding['id']}", f"{finding['x']} (0 = entering the first block)".capitalize(), finding["y"], fill
    )
