"""The curves of the runs by epoch: every run for a few, the mean of the seeds by config and data set for many."""

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ppcore.metrics.spec import MetricSpec
from ppcore.report.drawing import MUTED, SERIES, drawing
from ppcore.report.formats import common_prefix, experiment
from ppcore.report.run_data import Run
from ppcore.report.summary import dataset_name

MANY = 6  # runs; of more than these, the runs of a config are drawn as one line
LONG = 30  # values; a longer series is drawn as its running mean


class Level(NamedTuple):
    """A published number that a run is drawn beside, as it is written."""

    text: str
    value: float


def training_curves(runs: Sequence[Run], published: Mapping[str, Level] | None = None) -> list[dict]:
    """Returns the report's curves as dicts {name, title, svg}.

    Args:
        runs: of the report.
        published: by a run's name, what its score is drawn beside.

    Many runs would be a tangle: then each data set gets its own drawings, with one line a config, the mean of its seeds.
    """
    published = published or {}
    if len(runs) > MANY:
        return [drawn for name, group in _by_dataset(runs).items() for drawn in _many(name, group, published)]
    if not runs:
        return []
    metric = runs[0].primary_metric
    title = f"{metric.title[0].upper()}{metric.title[1:]}"
    evaluated = any(record.get("loss") is not None for run in runs for record in run.evals)
    drawn = {
        "loss": (loss_curve, f"Loss by epoch (solid: training{', dotted: evaluation' if evaluated else ''})"),
        score_name(metric): (partial(score_curve, published=published), f"{title} by epoch (dashed: averaged weights)"),
        "learning_rate": (lr_curve, "Learning rate by epoch"),
        "gradient_norm": (grad_norm_curve, "Global norm of the gradient by epoch, before clipping"),
    }
    return [{"name": name, "title": text, "svg": draw(runs)} for name, (draw, text) in drawn.items()]


def _by_dataset(runs: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(dataset_name(run), []).append(run)
    return groups


def _many(dataset: str, runs: Sequence[Run], published: Mapping[str, Level]) -> list[dict]:
    metric = runs[0].primary_metric
    kinds = (
        (score_name(metric), metric.axis, f"{dataset}: {metric.title} by epoch, mean of the seeds"),
        ("loss", "Training loss", f"{dataset}: training loss by epoch, mean of the seeds"),
    )
    drawn = []
    for kind, ylabel, title in kinds:
        name = f"{kind}_{re.sub('[^a-z0-9]+', '_', dataset.lower()).strip('_')}"
        levels = {} if kind == "loss" else published
        drawn.append({"name": name, "title": title, "svg": _mean_curves(name, runs, kind, ylabel, levels)})
    return drawn


def _mean_curves(name: str, runs: Sequence[Run], kind: str, ylabel: str, published: Mapping[str, Level]) -> str:
    configs: dict[str, list[Run]] = {}
    for run in runs:
        configs.setdefault(experiment(run.name), []).append(run)
    short = common_prefix(list(configs))

    def fill(axes: Axes) -> None:
        for number, (config, group) in enumerate(configs.items()):
            style = line_style(number)
            lines = [series(run.train, "loss") if kind == "loss" else _primary(run) for run in group]
            if len({tuple(x) for x, _ in lines}) == 1:  # else a seed is unfinished: each is drawn as it is
                lines = [(lines[0][0], np.mean([y for _, y in lines], axis=0))]
            for x, y in lines:
                axes.plot(x, smoothed(y) if kind == "loss" else y, **style)
            axes.plot([], [], label=config.removeprefix(short), **style)
        _levels(axes, runs, published)

    return drawing(name, "Epoch", ylabel, fill)


def _primary(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The primary metric of the weights that are the run's result, as it is written."""
    x, y = _evaluated(run, run.result["weights"] if run.result else "model", run.primary_metric.key)
    return x, run.primary_metric.written(y)


# Of one run: training, trained weights evaluated, averaged weights evaluated. Several runs get one colour each instead.
_Colours = tuple[str, str, str]
_WEIGHTS = (("model", "o", "-", "trained weights"), ("ema", "s", "--", "averaged weights (EMA)"))


def loss_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of training loss (thin: as logged, thick: running mean) and evaluation loss (dotted) by epoch."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        _noisy(axes, *series(run.train, "loss"), colours[0], "training")
        for (weights, marker, _, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = _evaluated(run, weights, "loss")
            if len(y):
                style = {"linestyle": ":", "linewidth": 1.2, "marker": marker, "markersize": 3.5}
                axes.plot(x, y, color=colour, label=f"evaluation, {name}", **style)

    return _plot("loss", runs, "Loss", draw)


def score_curve(runs: Sequence[Run], published: Mapping[str, Level] | None = None) -> str:
    """Returns an SVG of the primary metric on the evaluation images by epoch, trained and averaged weights apart.

    A number that was published for what a run trains is a line beside it.
    """
    metric = runs[0].primary_metric

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        for (weights, marker, line, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = _evaluated(run, weights, metric.key)
            if len(y):
                style = {"linestyle": line, "linewidth": 1.8, "marker": marker, "markersize": 3.5}
                axes.plot(x, metric.written(y), color=colour, label=name, **style)

    return _plot(score_name(metric), runs, metric.axis, draw, published or {})


def score_name(metric: MetricSpec) -> str:
    """What the drawings of a metric are called."""
    return "accuracy" if metric.key == "top1" else metric.key


def lr_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of the learning rate by epoch."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        axes.plot(*series(run.train, "lr"), color=colours[0], linewidth=1.8, label="learning rate")

    return _plot("lr", runs, "Learning rate", draw)


def grad_norm_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of the gradient's global norm by epoch, before clipping."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        x, y = series(run.train, "grad_norm")
        if len(y):
            _noisy(axes, x, y, colours[0], "gradient norm")

    return _plot("grad", runs, "Gradient norm", draw)


def _noisy(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    """A series thin as logged and thick as its running mean; a short one as it is."""
    if len(y) >= LONG:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
    axes.plot(x, smoothed(y), color=colour, linewidth=1.8, label=label)


def series(records: Sequence[dict], key: str, x: str = "epoch") -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs (or steps) and finite values of the records that have `key`."""
    kept = [record for record in records if record.get(key) is not None and np.isfinite(record[key])]
    return np.array([record[x] for record in kept]), np.array([record[key] for record in kept], float)


def _evaluated(run: Run, weights: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and numbers of the evaluations of some weights, as they are recorded."""
    return series([record for record in run.evals if record["weights"] == weights], key)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The running mean of a long series; a short one as it is."""
    return running_mean(values, len(values) // 40) if len(values) >= LONG else values


def line_style(number: int) -> dict[str, Any]:
    """Colour and line of one of many curves."""
    line = ("-", "--", ":")[number // len(SERIES) % 3]
    return {"color": SERIES[number % len(SERIES)], "linewidth": 1.8, "linestyle": line}


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over `reach` values to either side of each point; at the ends over those that exist."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    middle = np.arange(len(values))
    begin, stop = np.maximum(0, middle - reach), np.minimum(len(values), middle + reach + 1)
    return (total[stop] - total[begin]) / (stop - begin)


def _levels(axes: Axes, runs: Sequence[Run], published: Mapping[str, Level]) -> None:
    """A line for each published number of these runs."""
    for text, value in dict.fromkeys(published[run.name] for run in runs if run.name in published):
        axes.axhline(
            value, color=MUTED, linestyle="-.", linewidth=1.2, label=textwrap.shorten(text, 40, placeholder="…")
        )


def _plot(
    name: str,
    runs: Sequence[Run],
    ylabel: str,
    draw: Callable[[Axes, Run, _Colours], None],
    published: Mapping[str, Level] | None = None,
) -> str:
    def fill(axes: Axes) -> None:
        for number, run in enumerate(runs):
            own = SERIES[number % len(SERIES)]
            alone = len(runs) == 1
            before = len(axes.get_lines())
            draw(axes, run, tuple(SERIES[:3]) if alone else (own, own, own))
            if not alone:  # the legend names each run once; what the line styles mean is in the caption
                for line in axes.get_lines()[before:]:
                    line.set_label("_")
                axes.plot([], [], color=own, linewidth=1.8, label=textwrap.shorten(run.name, 30, placeholder="…"))
        _levels(axes, runs, published or {})

    return drawing(name, "Epoch", ylabel, fill)
