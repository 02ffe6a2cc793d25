"""The curves of the runs: loss, the headline metric, learning rate, gradient norm by epoch."""

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from ppcore.metrics.spec import MetricSpec
from ppcore.report.drawing import SERIES, drawing
from ppcore.report.run_data import Run

# Of one run: training, trained weights evaluated, averaged weights evaluated. Several runs get one colour each instead.
_Colours = tuple[str, str, str]
_WEIGHTS = (("model", "o", "trained weights"), ("ema", "s", "averaged weights (EMA)"))


def loss_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of training loss (thin: as logged, thick: running mean) and evaluation loss (dotted) by epoch."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        _noisy(axes, *series(run.train, "loss"), colours[0], "training")
        for (weights, marker, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = series([record for record in run.evals if record["weights"] == weights], "loss")
            if len(y):
                line = {"linestyle": ":", "linewidth": 1.2, "marker": marker, "markersize": 3.5}
                axes.plot(x, y, color=colour, label=f"evaluation, {name}", **line)

    return _plot("loss", runs, "Loss", draw)


def score_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of the headline metric on the evaluation images by epoch, trained and averaged weights apart."""
    unit = runs[0].headline

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        for (weights, marker, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = series([record for record in run.evals if record["weights"] == weights], unit.key)
            if len(y):
                line = {
                    "linestyle": "--" if weights == "ema" else "-",
                    "linewidth": 1.8,
                    "marker": marker,
                    "markersize": 3.5,
                }
                axes.plot(x, unit.written(y), color=colour, label=name, **line)

    return _plot(score_name(unit), runs, unit.axis, draw)


def score_name(unit: MetricSpec) -> str:
    """What the drawings of a metric are called."""
    return "accuracy" if unit.key == "top1" else unit.key


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
    if len(y) >= 30:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
        y = running_mean(y, len(y) // 40)
    axes.plot(x, y, color=colour, linewidth=1.8, label=label)


def series(records: Sequence[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs and finite values of the records that have `key`."""
    kept = [record for record in records if record.get(key) is not None and np.isfinite(record[key])]
    return np.array([_epoch(record) for record in kept]), np.array([record[key] for record in kept], float)


def _epoch(record: dict) -> float:
    return record["epoch"] if record.get("epoch") is not None else record["step"]


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over `reach` values to either side of each point; at the ends over those that exist."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    middle = np.arange(len(values))
    begin, stop = np.maximum(0, middle - reach), np.minimum(len(values), middle + reach + 1)
    return (total[stop] - total[begin]) / (stop - begin)


def _plot(name: str, runs: Sequence[Run], ylabel: str, draw: Callable[[Axes, Run, _Colours], None]) -> str:
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

    return drawing(name, "Epoch", ylabel, fill)
