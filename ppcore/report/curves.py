"""Which curves a report shows: every run for a few, the mean of the seeds by config and data set for many."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ppcore.report.drawing import SERIES, drawing
from ppcore.report.figures import grad_norm_curve, loss_curve, lr_curve, running_mean, score_curve, score_name, series
from ppcore.report.formats import common_prefix, experiment
from ppcore.report.run_data import Run
from ppcore.report.summary import dataset_name

MANY = 6  # runs; of more than these, the runs of a config are drawn as one line


def curves(runs: Sequence[Run]) -> list[dict]:
    """Returns the report's curves as dicts {name, title, svg}.

    Many runs would be a tangle: then each data set gets its own drawings, with one line a config, the mean of its seeds.
    """
    if len(runs) > MANY:
        return [drawn for name, group in _by_dataset(runs).items() for drawn in _many(name, group)]
    if not runs:
        return []
    unit = runs[0].headline
    evaluated = any(record.get("loss") is not None for run in runs for record in run.evals)
    drawn = {
        "loss": (loss_curve, f"Loss by epoch (solid: training{', dotted: evaluation' if evaluated else ''})"),
        score_name(unit): (score_curve, f"{unit.title[0].upper()}{unit.title[1:]} by epoch (dashed: averaged weights)"),
        "learning_rate": (lr_curve, "Learning rate by epoch"),
        "gradient_norm": (grad_norm_curve, "Global norm of the gradient by epoch, before clipping"),
    }
    return [{"name": name, "title": text, "svg": draw(runs)} for name, (draw, text) in drawn.items()]


def _by_dataset(runs: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(dataset_name(run), []).append(run)
    return groups


def _many(dataset: str, runs: Sequence[Run]) -> list[dict]:
    unit = runs[0].headline
    kinds = (
        (score_name(unit), unit.axis, f"{dataset}: {unit.title} by epoch, mean of the seeds"),
        ("loss", "Training loss", f"{dataset}: training loss by epoch, mean of the seeds"),
    )
    drawn = []
    for kind, ylabel, title in kinds:
        name = f"{kind}_{re.sub('[^a-z0-9]+', '_', dataset.lower()).strip('_')}"
        drawn.append({"name": name, "title": title, "svg": _mean_curves(name, runs, kind, ylabel)})
    return drawn


def _mean_curves(name: str, runs: Sequence[Run], kind: str, ylabel: str) -> str:
    configs: dict[str, list[Run]] = {}
    for run in runs:
        configs.setdefault(experiment(run.name), []).append(run)
    short = common_prefix(list(configs))

    def fill(axes: Axes) -> None:
        for number, (config, group) in enumerate(configs.items()):
            style = {"color": SERIES[number % len(SERIES)], "linewidth": 1.8}
            style["linestyle"] = ("-", "--", ":")[number // len(SERIES) % 3]
            lines = [series(run.train, "loss") if kind == "loss" else _headline(run) for run in group]
            if len({tuple(x) for x, _ in lines}) == 1:  # else a seed is unfinished: each is drawn as it is
                lines = [(lines[0][0], np.mean([y for _, y in lines], axis=0))]
            for x, y in lines:
                if kind == "loss" and len(y) >= 30:
                    y = running_mean(y, len(y) // 40)
                axes.plot(x, y, **style)
            axes.plot([], [], label=config.removeprefix(short), **style)

    return drawing(name, "Epoch", ylabel, fill)


def _headline(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The headline metric of the weights the report headlines, as it is written."""
    weights = run.result["weights"] if run.result else None
    x, y = series([record for record in run.evals if record["weights"] == weights], run.headline.key)
    return x, run.headline.written(y)
