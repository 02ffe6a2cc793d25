"""Results as bars: the median of the rounds, their spread as a line across its end, the machine's limit as a dashed line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ppcore.errors import OutputError, reason
from ppcore.io import write_atomically, write_json

COLOURS = {"fp32": "#2a6cb0", "bf16": "#c2621a", "int8": "#23855a", "": "#596a7a"}


class Bar(NamedTuple):
    """One contender: its name, what was measured (median, lowest, highest), precision, and whether it is ours."""

    name: str
    median: float
    lowest: float
    highest: float
    precision: str = ""
    ours: bool = True


class Panel(NamedTuple):
    """Bars that are compared: title, unit, and the machine's limit in that unit by precision."""

    title: str
    unit: str
    bars: list[Bar]
    limits: dict[str, float]


def panels(result: Mapping[str, Any]) -> list[Panel]:
    """The panels of a result of `infer`, `files`, `data` or `enhance`."""
    rows = [row for row in result["rows"] if "reason" not in row and "missing" not in row]
    return DRAWN[result["what"]](result, rows)


def _limits(result: Mapping[str, Any], flop: float, rows: Sequence[Mapping]) -> dict[str, float]:
    """Images/s of `flop` each at the machine's GEMM rates."""
    gemm = result["machine"]["gemm"]
    return {p: gemm[p]["gflops"] * 1e9 / flop for p in gemm if any(row["precision"] == p for row in rows)}


def _rates(rows: Sequence[Mapping]) -> list[Bar]:
    return [
        Bar(r["contender"], r["images_per_second"], r["lowest"], r["highest"], r["precision"], r["ours"]) for r in rows
    ]


def _inference(result: Mapping[str, Any], rows: Sequence[Mapping]) -> list[Panel]:
    found = []
    for model, batch in dict.fromkeys((row["model"], row["batch"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["batch"]) == (model, batch)]
        found.append(Panel(f"{model}, batch {batch}", "images/s", _rates(mine), _limits(result, mine[0]["flop"], mine)))
    return found


def _files(result: Mapping[str, Any], rows: Sequence[Mapping]) -> list[Panel]:
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        title = f"{model}, {result['files']} files to answers"
        found.append(Panel(title, "images/s, start-up included", _rates(mine), _limits(result, mine[0]["flop"], mine)))
    return found


def _data(result: Mapping[str, Any], rows: Sequence[Mapping]) -> list[Panel]:
    return [
        Panel(title, unit, [Bar(r["contender"], *(r[key][s] for s in ("median", "lowest", "highest")), "", r["ours"]) for r in rows], {})
        for title, unit, key in (
            ("training input", "images/s", "images_per_second"), ("the loop's thread", "ms of CPU a batch", "loop_ms"),
        )
    ]  # fmt: skip


def _enhance(result: Mapping[str, Any], rows: Sequence[Mapping]) -> list[Panel]:
    found, gemm = [], result["machine"]["gemm"]
    for size in dict.fromkeys((row["width"], row["height"]) for row in rows):
        mine = [row for row in rows if (row["width"], row["height"]) == size]
        bars = [
            Bar(r["contender"], r["seconds"], r["lowest"], r["highest"], r["precision"], r["contender"] != "peer")
            for r in mine
        ]
        limits = {p: mine[0]["flop"] / gemm[p]["gflops"] / 1e9 for p in gemm if any(r["precision"] == p for r in mine)}
        found.append(Panel(f"{size[0]}×{size[1]}", "seconds", bars, limits))
    return found


DRAWN = {"infer": _inference, "files": _files, "data": _data, "enhance": _enhance}


def write(folder: Path, result: Mapping[str, Any], text: str) -> None:
    """Writes `result.json`, `result.md`, and `plot.png` where there is something to draw.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--output: {folder} cannot be made: {reason(error)}") from None
    write_json(folder / "result.json", result)
    write_atomically(folder / "result.md", lambda temp: temp.write_text(text + "\n", encoding="utf-8"))
    if result["what"] in DRAWN and panels(result):
        write_atomically(folder / "plot.png", lambda temp: draw(result, temp))


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Writes the panels as a PNG, two beside each other."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = panels(result)
    columns = min(len(shown), 2)
    lines = -(-len(shown) // columns)
    tallest = max(len(panel.bars) for panel in shown)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(6.6 * columns, lines * (0.26 * tallest + 1.1) + 0.9), layout="constrained")
        FigureCanvasAgg(figure)
        for number, panel in enumerate(shown):
            _fill(figure.add_subplot(lines, columns, number + 1), panel)
        precisions = dict.fromkeys(bar.precision for panel in shown for bar in panel.bars)
        handles = [Patch(color=COLOURS[p], label=p) for p in precisions if p]
        handles += [Patch(facecolor="#888888", label="ours"), Patch(facecolor="#dddddd", label="others (pale)")]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        gemm = ", ".join(f"{p} {found['gflops']:.0f} GFLOP/s" for p, found in result["machine"]["gemm"].items())
        figure.suptitle(
            f"{result['machine']['cpu']}, {result['machine']['threads']} threads; dashed: the GEMM rate, {gemm}",
            fontsize=10,
        )
        figure.savefig(path, dpi=110, format="png")


def _fill(axes: Any, panel: Panel) -> None:
    for place, bar in enumerate(panel.bars):
        colour = COLOURS[bar.precision]
        axes.barh(place, bar.median, color=colour, alpha=1.0 if bar.ours else 0.4, height=0.72)
        axes.plot([bar.lowest, bar.highest], [place, place], color="#1b1d1f", linewidth=1.4)
        axes.annotate(
            f"{bar.median:.3g}",
            (max(bar.highest, bar.median), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    for precision, limit in panel.limits.items():
        places = [place for place, bar in enumerate(panel.bars) if bar.precision == precision]
        axes.plot([limit, limit], [min(places) - 0.5, max(places) + 0.5], color=COLOURS[precision], linestyle="--")
    axes.set_yticks(range(len(panel.bars)), [bar.name for bar in panel.bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max([*(bar.highest for bar in panel.bars), *panel.limits.values()]))
    axes.set_xlabel(panel.unit)
    axes.set_title(panel.title, fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
