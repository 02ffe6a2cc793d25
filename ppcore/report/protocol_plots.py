"""A picture of why published figures of one network disagree: its numbers by every protocol, and the published ones."""

import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes

from ppcore.metrics.spec import MetricSpec
from ppcore.report.drawing import INK, MUTED, SERIES, drawing
from ppcore.report.protocol_tables import kind

_MARKS = "osv^P*X"
_ROW = 0.5  # inches a method takes
_APART = 0.09  # of a row, from a protocol's mark to the next: many lie on each other


def protocol_plots(table: Mapping, number: int) -> list[dict]:
    """Draws a table of `protocol_tables`, one drawing a kind of number: {name, title, svg}; none where nothing was measured.

    Every trained network has a line, every protocol a mark on it; a stroke is the published number on the line of the
    method that gives it, a dotted line one that nothing here gives.

    Args:
        table: the table.
        number: of the table on the page, for the drawings' names.
    """
    kinds: dict[str, list[MetricSpec]] = {}
    for metric in table["columns"]:
        kinds.setdefault(kind(metric), []).append(metric)
    return [
        {
            "name": f"protocols_{number}_{name.lower()}",
            "title": f"{name} of one output by every protocol" if len(metrics) > 1 else f"{name}, ours and published",
            "svg": _drawn(table, name, metrics, f"protocols_{number}_{name.lower()}"),
        }
        for name, metrics in kinds.items()
        if any(row["trained"] for row in table["rows"])
    ]


def _drawn(table: Mapping, name: str, metrics: list[MetricSpec], ids: str) -> str:
    rows = [row for row in table["rows"] if row["trained"]]  # the dark input would squeeze what is to be told apart
    methods = [row["method"] for row in rows]

    def fill(axes: Axes) -> None:
        axes.figure.set_figheight(1.2 + _ROW * len(methods))
        for place, metric in enumerate(metrics):
            axes.plot(
                [row["by_key"][metric.key] for row in rows],
                [line + _APART * (place - (len(metrics) - 1) / 2) for line in range(len(methods))],
                _MARKS[place % len(_MARKS)],
                color=SERIES[place % len(SERIES)],
                markersize=5,
                alpha=0.85,
                label=metric.name.removeprefix(name).strip() or name,
            )
        given = [one for one in table["reached"] if one["kind"] == name and one["method"] in methods]
        if given:
            axes.plot(
                [one["published"] for one in given], [methods.index(one["method"]) for one in given], "|",
                color=INK, markersize=24, markeredgewidth=1.6, label="published",
            )  # fmt: skip
        unknown = [one["published"] for one in table["unexplained"] if one["kind"] == name]
        for value in unknown:
            label = "published, given by none" if value == unknown[0] else "_"
            axes.axvline(value, color=MUTED, linestyle=":", linewidth=1.4, label=label)
        axes.set_yticks(range(len(methods)), [textwrap.shorten(method, 34, placeholder="…") for method in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)  # in the order of the table
        for line in axes.get_yticklabels():
            line.set_color(INK)

    unit = metrics[0].unit
    return drawing(ids, f"{name}{', ' if unit else ''}{unit}", "", fill)
