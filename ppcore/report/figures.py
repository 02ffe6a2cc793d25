"""The curves of the runs as SVG whose colours are CSS variables, so one drawing serves light, dark and print."""

import io
import re
import textwrap
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ppcore.report.runs import Run

# Drawn in these stand-in colours, then replaced: matplotlib knows no CSS variables.
_STAND_IN = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    **{f"#0{n}0{n}f{n}": f"var(--c{n})" for n in range(1, 7)},
}
_SERIES = [colour for colour in _STAND_IN if _STAND_IN[colour].startswith("var(--c")]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
PALETTE = {
    "light": {"ink": "#1b1d1f", "muted": "#5d6167", "line": "#e3e3df", "c1": "#2a6cb0", "c2": "#c2621a",
              "c3": "#23855a", "c4": "#7a52ab", "c5": "#b0365a", "c6": "#596a7a"},
    "dark": {"ink": "#ececea", "muted": "#a3a7ad", "line": "#33373c", "c1": "#7db4ec", "c2": "#eda563",
             "c3": "#6fcb9f", "c4": "#bd9fe6", "c5": "#ee8aa5", "c6": "#a9b8c6"},
}  # fmt: skip


def css_variables(theme: str) -> str:
    """Returns the palette of `light` or `dark` as CSS declarations."""
    return "".join(f"--{name}:{value};" for name, value in PALETTE[theme].items())


# Of one run: training, trained weights evaluated, averaged weights evaluated. Several runs get one colour each instead.
_Colours = tuple[str, str, str]
_WEIGHTS = (("model", "o", "trained weights"), ("ema", "s", "averaged weights (EMA)"))


def loss_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of training loss (thin: as logged, thick: running mean) and evaluation loss (dotted) by epoch."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        _noisy(axes, *_series(run.train, "loss"), colours[0], "training")
        for (weights, marker, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = _series([record for record in run.evals if record["weights"] == weights], "loss")
            if len(y):
                line = {"linestyle": ":", "linewidth": 1.2, "marker": marker, "markersize": 3.5}
                axes.plot(x, y, color=colour, label=f"evaluation, {name}", **line)

    return _plot("loss", runs, "Loss", draw)


def accuracy_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of top-1 accuracy on the evaluation images by epoch, trained and averaged weights apart."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        for (weights, marker, name), colour in zip(_WEIGHTS, colours[1:], strict=True):
            x, y = _series([record for record in run.evals if record["weights"] == weights], "top1")
            if len(y):
                line = {
                    "linestyle": "--" if weights == "ema" else "-",
                    "linewidth": 1.8,
                    "marker": marker,
                    "markersize": 3.5,
                }
                axes.plot(x, 100 * y, color=colour, label=name, **line)

    return _plot("accuracy", runs, "Top-1 accuracy, %", draw)


def lr_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of the learning rate by epoch."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        axes.plot(*_series(run.train, "lr"), color=colours[0], linewidth=1.8, label="learning rate")

    return _plot("lr", runs, "Learning rate", draw)


def grad_norm_curve(runs: Sequence[Run]) -> str:
    """Returns an SVG of the gradient's global norm by epoch, before clipping."""

    def draw(axes: Axes, run: Run, colours: _Colours) -> None:
        x, y = _series(run.train, "grad_norm")
        if len(y):
            _noisy(axes, x, y, colours[0], "gradient norm")

    return _plot("grad", runs, "Gradient norm", draw)


def _noisy(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    """A series thin as logged and thick as its running mean; a short one as it is."""
    if len(y) >= 30:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
        y = _running_mean(y, len(y) // 40)
    axes.plot(x, y, color=colour, linewidth=1.8, label=label)


def _series(records: Sequence[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    kept = [record for record in records if record.get(key) is not None and np.isfinite(record[key])]
    return np.array([_epoch(record) for record in kept]), np.array([record[key] for record in kept], float)


def _epoch(record: dict) -> float:
    return record["epoch"] if record.get("epoch") is not None else record["step"]


def _running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over `reach` values to either side of each point; at the ends over those that exist."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    middle = np.arange(len(values))
    begin, stop = np.maximum(0, middle - reach), np.minimum(len(values), middle + reach + 1)
    return (total[stop] - total[begin]) / (stop - begin)


def _plot(name: str, runs: Sequence[Run], ylabel: str, draw: Callable[[Axes, Run, _Colours], None]) -> str:
    style = {
        "svg.fonttype": "none",  # real text: it takes the page's font and can be searched and read aloud
        "svg.hashsalt": name,  # ids stay the same from run to run and differ between the drawings of one page
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.parse_math": False,  # a "$" in a run's name is a dollar sign
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.1, 3.1), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        for number, run in enumerate(runs):
            own = _SERIES[number % len(_SERIES)]
            alone = len(runs) == 1
            before = len(axes.get_lines())
            draw(axes, run, tuple(_SERIES[:3]) if alone else (own, own, own))
            if not alone:  # the legend names each run once; what the line styles mean is in the caption
                for line in axes.get_lines()[before:]:
                    line.set_label("_")
                axes.plot([], [], color=own, linewidth=1.8, label=textwrap.shorten(run.name, 30, placeholder="…"))
        axes.set_xlabel("Epoch", color="#020202")
        axes.set_ylabel(ylabel, color="#020202")
        axes.tick_params(colors="#020202", length=0, pad=6)
        axes.grid(axis="y", color="#030303", linewidth=0.8)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color("#030303")
        if not axes.get_lines():
            axes.text(0.5, 0.5, "not recorded", color="#020202", ha="center", va="center", transform=axes.transAxes)
        elif len(axes.get_legend_handles_labels()[1]) > 1:  # a lone line is named by the axis
            axes.legend(frameon=False, labelcolor="#010101", handlelength=2.8, fontsize=8.5).set_in_layout(False)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return _themed(buffer.getvalue(), name)


def _themed(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]  # an inline drawing takes no XML prologue
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("*{stroke-linejoin", "svg *{stroke-linejoin")  # not the whole page's
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", _FONT, svg)
    for stand_in, variable in _STAND_IN.items():
        svg = svg.replace(stand_in, variable)
    head, rest = svg.split(">", 1)
    svg = re.sub(r' (width|height)="[^"]*"', "", head) + ">" + rest  # the page decides the size
    # Ids such as `figure_1` repeat in every drawing; a page may hold each id once.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)


def standalone(svg: str) -> str:
    """Returns the drawing as a file of its own, with both palettes inside."""
    style = (
        f"<style>svg{{{css_variables('light')}background:#ffffff}}"
        f"@media (prefers-color-scheme: dark){{svg{{{css_variables('dark')}background:#141517}}}}</style>"
    )
    head, rest = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{style}{rest}'
