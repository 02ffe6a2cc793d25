"""The paper's analyses as curves: ours by layer, over seeds, with the published points beside them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ppcore.report.comparisons import Analysis
from ppcore.report.content_types import AnalysisMeasurement
from ppcore.report.drawing import INK, SERIES, drawing
from ppcore.report.published import PaperTables


def analysis_curves(paper: PaperTables, measured: Sequence[AnalysisMeasurement]) -> list[dict]:
    """Gathers every analysis's curves.

    Returns:
        One dict an analysis: what it is, `published` points with the layer `place` they stand at (None
        when there is no curve of ours), `layers` (number of the last), and `curves`, one a quick
        config: `mean`, `low`, `high` by layer over the seeds, or `why_none`.
    """
    return [_curves(item, paper, [one for one in measured if one.analysis == item.id]) for item in paper.analyses]


def _curves(analysis: Analysis, paper: PaperTables, measured: Sequence[AnalysisMeasurement]) -> dict:
    shown = [paper.quick_of(config).dataset for config in analysis.quick]
    curves = []
    for config, dataset in zip(analysis.quick, shown, strict=True):
        label = dataset if shown.count(dataset) == 1 else f"{dataset}, {paper.quick_of(config).name}"
        mine = [one for one in measured if one.config == config]
        curves.append({"config": config, "dataset": dataset, "label": label, **_over_seeds(mine)})
    last = max((len(curve["mean"]) - 1 for curve in curves if curve["mean"]), default=None)
    return {
        **analysis.model_dump(include={"id", "title", "measure", "x", "y", "label", "note"}),
        "source": paper.cite(analysis.source),
        "published": [
            {"x": point.x, "y": point.y, "place": None if last is None else point.place(last)}
            for point in analysis.published
        ],
        "layers": last,
        "curves": curves,
    }


def _over_seeds(rows: Sequence[AnalysisMeasurement]) -> dict:
    """Mean and range by layer over the runs of one config."""
    lengths = {len(row.values) for row in rows}
    why_none = "" if len(lengths) == 1 else "not run" if not rows else "the runs have different numbers of layers"
    values = np.array([row.values for row in rows]) if not why_none else np.zeros((1, 0))
    return {
        "seeds": [row.seed for row in rows],
        "runs": [row.run for row in rows],
        "images": rows[0].images if rows else None,
        "mean": values.mean(axis=0).tolist(),
        "low": values.min(axis=0).tolist(),
        "high": values.max(axis=0).tolist(),
        "why_none": why_none,
    }


def analysis_drawing(analysis: Mapping) -> str | None:
    """Returns an SVG of an analysis's curves with the published points; None when no curve was measured."""
    if analysis["layers"] is None:
        return None

    def fill(axes: Axes) -> None:
        for number, curve in enumerate(analysis["curves"]):
            colour, layers = SERIES[number % len(SERIES)], range(len(curve["mean"]))
            if len(curve["seeds"]) > 1:
                axes.fill_between(layers, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
            if curve["mean"]:
                axes.plot(layers, curve["mean"], "o-", color=colour, linewidth=1.8, markersize=3.5,
                          label=f"ours: {curve['label']}")  # fmt: skip
        points = [(point["place"], point["y"]) for point in analysis["published"]]
        if points:
            axes.plot(*zip(*points, strict=True), "D", color=INK, markerfacecolor="none", markersize=8,
                      markeredgewidth=1.6, label="published, not ours")  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)

    xlabel = f"{analysis['x']} (0 = entering the first block)".capitalize()
    return drawing(f"analysis_{analysis['id']}", xlabel, analysis["y"], fill)
