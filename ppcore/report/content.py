"""Everything a report says, as plain values: the HTML, Markdown and JSON are three views of this one dict."""

import dataclasses
import math
from collections.abc import Mapping

from ppcore.report import summary
from ppcore.report.ablation_tables import ablation_tables
from ppcore.report.analysis_plots import analysis_curves
from ppcore.report.baseline_tables import baseline_tables
from ppcore.report.content_types import ReportContent
from ppcore.report.expectations import expectations
from ppcore.report.fidelity_table import fidelity_table
from ppcore.report.formats import decimals
from ppcore.report.monitor_plots import monitor_curves
from ppcore.report.protocol_tables import protocol_tables
from ppcore.report.published import PaperTables, Row, Table
from ppcore.report.published_vs_ours import at_a_glance, same_measurements


def build(content: ReportContent) -> dict:
    """Returns what the report says, without its images; whether a number is published or ours shows in its key.

    Parts that the paper does not ask for, or that were not measured, are empty.
    """
    paper, runs = content.paper, content.runs
    return {
        "title": content.title,
        "paper": paper.paper.model_dump() if paper else None,
        "primary_metric": paper.metric() if paper else None,
        "metrics": summary.metrics(runs),
        "experiments": summary.experiments(runs),
        "runs": [summary.run_facts(run) for run in runs],
        "fidelity": fidelity_table(content.fidelity, paper),
        "expected": expectations(runs, paper) if paper else [],
        "published_vs_ours": same_measurements(runs, paper) if paper else [],
        "at_a_glance": at_a_glance(runs, paper) if paper else None,
        "published": [_table(table, paper) for table in paper.tables] if paper else [],
        "architecture": _architecture(paper) if paper else [],
        "peers": _peers(paper) if paper else [],
        "commands": list(dict.fromkeys(run.command for run in runs if run.command)),
        "ablations": ablation_tables(paper, runs, content.ablations) if paper else [],
        "analyses": analysis_curves(paper, content.analyses) if paper else [],
        "monitors": monitor_curves(paper, runs) if paper else [],
        "baselines": baseline_tables(paper, runs, content.baselines) if paper else [],
        "protocol_tables": protocol_tables(paper, content.evaluated),
        "predictions_note": content.classified_note,
    }


def _architecture(paper: PaperTables) -> list[dict]:
    return [
        {"builder": item.builder, "params": item.params, "source": paper.cite(item.source)}
        for item in paper.architecture
    ]


def _peers(paper: PaperTables) -> list[dict]:
    return [
        {
            **peer.model_dump(exclude={"source"}),
            "digits": [decimals(row.top1 for row in peer.rows), decimals(row.reference for row in peer.rows)],
            "source": paper.cite(peer.source),
        }
        for peer in paper.peers
    ]


def _table(table: Table, paper: PaperTables) -> dict:
    return {
        **table.model_dump(include={"id", "short", "title", "protocol", "metric"}),
        "columns": [column.name for column in table.columns],
        "rows": [
            {
                **row.model_dump(include={"group", "name", "values", "metric", "protocol"}),
                "digits": _digits(row, table, paper),
                "source": paper.cite(row.source) if row.source else None,
            }
            for row in table.rows
        ],
        "source": paper.cite(table.source),
    }


def _digits(row: Row, table: Table, paper: PaperTables) -> list[int]:
    """Decimals of a row's cells: the column's, or the metric's for a row of another one, such as core-days."""
    if row.metric and row.metric != table.metric:
        return [paper.metric(row.metric).digits] * len(row.values)
    alike = [other.values for other in table.rows if not other.metric or other.metric == table.metric]
    least = [min(paper.metric(column.metric or table.metric).digits, 2) for column in table.columns]
    return [decimals(values, fewest) for values, fewest in zip(zip(*alike, strict=True), least, strict=True)]


def jsonable(value: object) -> object:
    """Returns the value with metrics as dicts, and infinities and NaN (a diverged loss) as None: JSON has neither."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
