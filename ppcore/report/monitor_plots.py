"""What trainings log beside their loss, over the steps: one line a config with the range over its seeds, and limits."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ppcore.report.comparisons import Monitor
from ppcore.report.drawing import MUTED, drawing
from ppcore.report.formats import common_prefix, experiment, quantity
from ppcore.report.published import PaperTables
from ppcore.report.run_data import Run
from ppcore.report.training_curves import line_style, series, smoothed

_LINES = ("--", "-.", ":")  # of limits


def monitor_curves(paper: PaperTables, runs: Sequence[Run]) -> list[dict]:
    """Gathers the curves of every monitor that a run logged.

    Returns:
        One dict a monitor: `key`, `title`, `note`, `limits` and `curves`, one a config: its `seeds` and `runs`, the `steps` that
        all of these logged, by step `mean`, `low` and `high` over the seeds, of the means the `first`, `last`, `least` and `most`,
        and its `place` among the configs, which is the same in every monitor. Without a step that all logged, these numbers are
        None and `why_none` says so.
    """
    keys = [one.key for one in paper.monitors]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if any(len(series(run.train, key)[1]) for key in keys):
            groups.setdefault(experiment(run.name), []).append(run)
    found = [_curves(one, groups) for one in paper.monitors]
    return [one for one in found if one["curves"]]


def _curves(monitor: Monitor, groups: Mapping[str, Sequence[Run]]) -> dict:
    short, curves = common_prefix(list(groups)), []
    for place, (config, runs) in enumerate(groups.items()):
        logged = [(run, *series(run.train, monitor.key, "step")) for run in runs]
        logged = [(run, steps, values) for run, steps, values in logged if len(values)]
        if logged:
            about = {"config": config, "label": config.removeprefix(short), "place": place}
            curves.append({**about, **_over_seeds(logged)})
    return {**monitor.model_dump(), "curves": curves}


def _over_seeds(logged: Sequence[tuple[Run, np.ndarray, np.ndarray]]) -> dict:
    """Mean and range over runs at the steps that all of them logged."""
    steps = sorted(set.intersection(*(set(each.tolist()) for _, each, _ in logged)))
    values = np.array([each[np.isin(own, steps)] for _, own, each in logged])  # [runs, steps]
    mean = values.mean(axis=0)
    ends = (mean[0], mean[-1], mean.min(), mean.max()) if steps else (None,) * 4
    return {
        "seeds": [run.seed for run, *_ in logged],
        "runs": [run.name for run, *_ in logged],
        "steps": steps,
        "mean": mean.tolist(),
        "low": values.min(axis=0).tolist(),
        "high": values.max(axis=0).tolist(),
        **{
            name: None if end is None else float(end)
            for name, end in zip(("first", "last", "least", "most"), ends, strict=True)
        },
        "why_none": "" if steps else "the runs have no step in common",
    }


def monitor_drawing(monitor: Mapping) -> str:
    """Returns an SVG of a monitor's curves, long ones as running means, with its limits."""

    def fill(axes: Axes) -> None:
        for curve in monitor["curves"]:
            style = line_style(curve["place"])
            steps, mean, low, high = (np.array(curve[name]) for name in ("steps", "mean", "low", "high"))
            if len(curve["runs"]) > 1:
                axes.fill_between(steps, smoothed(low), smoothed(high), color=style["color"], alpha=0.18, linewidth=0)
            axes.plot(steps, smoothed(mean), label=curve["label"], **style)
        for number, limit in enumerate(monitor["limits"]):
            text = f"{limit['caption']} ({quantity(limit['value'])})"
            line = _LINES[number % len(_LINES)]
            axes.axhline(limit["value"], color=MUTED, linestyle=line, linewidth=1.2, label=text)

    return drawing(f"monitor_{monitor['key']}", "Step", monitor["key"].replace("_", " "), fill)
