"""Drawings as SVG whose colours are CSS variables, so one drawing serves light, dark and print."""

import io
import re
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, LINE = "#010101", "#020202", "#030303"
# Drawn in these stand-in colours, then replaced: matplotlib knows no CSS variables.
_STAND_IN = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    **{f"#0{n}0{n}f{n}": f"var(--c{n})" for n in range(1, 7)},
}
SERIES = [colour for colour in _STAND_IN if _STAND_IN[colour].startswith("var(--c")]
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


def drawing(name: str, xlabel: str, ylabel: str, fill: Callable[[Axes], None]) -> str:
    """Returns an SVG of one pair of axes.

    Args:
        name: goes into the ids of the drawing, so that several fit one page.
        xlabel: what the horizontal axis shows.
        ylabel: what the vertical axis shows.
        fill: draws on the axes, in the colours of `SERIES`.
    """
    style = {
        "svg.fonttype": "none",  # real text: it takes the page's font and can be searched and read aloud
        "svg.hashsalt": name,  # ids stay the same from run to run and differ between the drawings of one page
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.parse_math": False,  # a "$" in a run's name is a dollar sign
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.1, 3.1), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.06)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        fill(axes)
        axes.set_xlabel(xlabel, color=MUTED)
        axes.set_ylabel(ylabel, color=MUTED)
        axes.tick_params(colors=MUTED, length=0, pad=6)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(LINE)
        if not axes.get_lines():
            axes.text(0.5, 0.5, "not recorded", color=MUTED, ha="center", va="center", transform=axes.transAxes)
        elif len(axes.get_legend_handles_labels()[1]) > 1:  # a lone line is named by the axis
            _legend(figure, axes)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return _themed(buffer.getvalue(), name)


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend below the axes, where no line can run through it, with room of its own in the figure."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels)) > 30 else 2 if max(map(len, labels)) > 14 else 3
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.18 * rows + 0.1)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, handlelength=2.4,
        fontsize=8.5, columnspacing=1.4, borderpad=0.2, labelspacing=0.35,
    )  # fmt: skip


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
