"""One network under every published protocol: what was measured, beside what was published and by which protocol."""

from collections.abc import Sequence

from ppcore.metrics.spec import MetricSpec
from ppcore.report.content_types import EvaluatedNetworks
from ppcore.report.evaluations import Cell, EvaluationItem, Reached, Unexplained, digits_of
from ppcore.report.published import PaperTables


def protocol_tables(paper: PaperTables | None, evaluated: Sequence[EvaluatedNetworks]) -> list[dict]:
    """Sets every evaluation's numbers beside the published ones.

    Returns:
        One dict an evaluation: `protocols` (name, text, metrics), `rows` (a method with its `numbers` in the order of the
        columns, as written, and the number of the note where its protocol is its own), `own` (those protocols), `left_out`, `reached` (published, ours, difference, whether they are equal to the last
        published digit), `unexplained` (published, the nearest of ours, and which of ours are equal to the last digit).
    """
    items = {item.config: item for item in paper.evaluations} if paper else {}
    return [_table(one, paper, items.get(one.config)) for one in evaluated]


def kind(metric: MetricSpec) -> str:
    """What a number is whatever the protocol, `PSNR`: the first word of its name."""
    return metric.name.split()[0]


def _table(one: EvaluatedNetworks, paper: PaperTables | None, item: EvaluationItem | None) -> dict:
    columns = [metric for protocol in one.protocols for metric in protocol.metrics]
    usual = "; ".join(protocol.text for protocol in one.protocols)
    own = list(dict.fromkeys(row.protocol for row in one.methods if row.protocol not in ("", usual)))
    rows = [
        {
            "method": row.method,
            "numbers": [metric.written(row.numbers[metric.key]) for metric in columns],
            "by_key": {metric.key: metric.written(row.numbers[metric.key]) for metric in columns},
            "seconds": row.seconds / row.n,
            "n": row.n,
            "runs_on": row.runs_on,
            "trained": row.trained,
            "published": row.published,
            "protocol": row.protocol,
            "note": len(one.protocols) + 1 + own.index(row.protocol) if row.protocol in own else None,
        }
        for row in one.methods
        if not row.left_out
    ]
    table = {
        "config": one.config,
        "title": one.title,
        "data": one.data,
        "missing": one.missing,
        "note": item.note if item else "",
        "n": rows[0]["n"] if rows else 0,
        "protocols": [{"name": p.name, "text": p.text, "metrics": list(p.metrics)} for p in one.protocols],
        "own": own,
        "columns": columns,
        "gt_mean": any("GT-mean" in metric.name for metric in columns),
        "rows": rows,
        "left_out": [{"method": row.method, "why": row.left_out} for row in one.methods if row.left_out],
    }
    figures = item.figures if item else []
    unexplained = item.unexplained if item else []
    return {
        **table,
        "reached": [_reached(figure, paper, table) for figure in figures],
        "unexplained": [_unexplained(figure, paper, table) for figure in unexplained],
    }


def _published(cell: Cell, paper: PaperTables) -> dict:
    """A published number as plain values."""
    table, row, value = paper.cell(cell)
    digits = digits_of(cell, value)
    return {
        "table": table.short,
        "row": row.name,
        "column": cell.column,
        "published": value,
        "digits": digits,
        "protocol": row.protocol or table.protocol,
        "source": paper.cite(row.source or table.source),
    }


def _reached(figure: Reached, paper: PaperTables, table: dict) -> dict:
    published = _published(figure, paper)
    metric = next((metric for metric in table["columns"] if metric.key == figure.metric), None)
    row = next((row for row in table["rows"] if row["method"] == figure.method), None)
    ours = row["by_key"][metric.key] if row and metric else None
    said = [p for p in table["protocols"] if metric in p["metrics"]]
    return {
        **published,
        "method": figure.method,
        "metric": metric,
        "kind": kind(metric) if metric else figure.column,
        "by": (row["protocol"] if row else "") or (said[0]["text"] if said else ""),
        "ours": ours,
        "difference": None if ours is None else ours - published["published"],
        "equal": None if ours is None else equal(ours, published["published"], published["digits"]),
    }


def equal(ours: float, published: float, digits: int) -> bool:
    """Whether a number is the published one when it is rounded to as many decimals."""
    return f"{ours:.{digits}f}" == f"{published:.{digits}f}"


def _unexplained(figure: Unexplained, paper: PaperTables, table: dict) -> dict:
    published = _published(figure, paper)
    wanted = paper.metric(figure.metric)
    found = [
        {"method": row["method"], "metric": metric, "value": row["by_key"][metric.key]}
        for row in table["rows"]
        for metric in table["columns"]
        if kind(metric) == kind(wanted)
    ]
    nearest = min(found, key=lambda one: abs(one["value"] - published["published"]), default=None)
    same = [one for one in found if equal(one["value"], published["published"], published["digits"])]
    return {**published, "metric": wanted, "kind": kind(wanted), "nearest": nearest, "same": same}
