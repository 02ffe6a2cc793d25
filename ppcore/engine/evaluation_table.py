"""An evaluation of several methods as text: a table, and what its numbers are."""

from collections.abc import Sequence
from typing import Any

from ppcore.metrics.spec import MetricSpec


def table(result: dict[str, Any], specs: Sequence[MetricSpec]) -> str:
    """The numbers of `evaluate.run` for `Arch` and those beside it: one line a method under a heading, the best marked `*`
    where all are of the same images by the same protocol.

    What was published for a method stands at the end of its line. Below stand the methods whose weights are not there, and
    the protocols that single methods have for themselves.
    """
    beside = [*result["baselines"], *result["networks"]]
    rows = [result, *(row for row in beside if "left_out" not in row)]
    shown = [spec for spec in specs if spec.key in result]
    alike = not any("protocol" in row for row in rows[1:])
    said = any(row.get("published") for row in rows)
    cells = [["method", *(unit.heading for unit in shown), "images", "s/image", *["published"] * said]]
    for row in rows:
        numbers = []
        for unit in shown:
            best = alike and not any(unit.better(other[unit.key], row[unit.key]) for other in rows)
            numbers.append(f"{unit.written(row[unit.key]):.{unit.digits}f}{'*' if best else ' '}")
        last = [row.get("published", "")] * said
        cells.append([row["method"], *numbers, f"{row['n']:,}", f"{row['seconds'] / row['n']:.2f}", *last])
    right = len(cells[0]) - said  # columns of numbers end here
    widths = [max(len(line[i]) for line in cells) for i in range(right)]
    lines = []
    for line in cells:
        numbers = [c.rjust(w) for c, w in zip(line[1:right], widths[1:], strict=True)]
        lines.append("  ".join([line[0].ljust(widths[0]), *numbers, *line[right:]]).rstrip())
    lines += [f"left out: {row['method']}: {row['left_out']}" for row in beside if "left_out" in row]
    own: dict[str, list[str]] = {}
    for row in (row for row in rows[1:] if "protocol" in row):
        own.setdefault(row["protocol"], []).append(row["method"])
    lines += [f"{'; '.join(methods)}: {protocol}" for protocol, methods in own.items()]
    return "\n".join(lines)
