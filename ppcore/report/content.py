"""Everything a report says, as plain values: the HTML, Markdown and JSON are three views of this one dict."""

from collections.abc import Mapping, Sequence

from ppcore.report import published_vs_ours, summary
from ppcore.report.ablation_tables import claims
from ppcore.report.analysis_plots import findings
from ppcore.report.expectations import expectations
from ppcore.report.fidelity_table import FidelityRow
from ppcore.report.formats import decimals
from ppcore.report.published import PaperTables, Row, Table
from ppcore.report.run_data import Run


def build(
    title: str,
    paper: PaperTables | None,
    runs: Sequence[Run],
    fidelity: Sequence[FidelityRow],
    evaluations: Sequence[Mapping] = (),
    measured: Sequence[Mapping] = (),
) -> dict:
    """Returns the report's content; whether a number is published or ours shows in its key.

    `claims` and `findings` are there only when the paper has some; `evaluations` and `measured` are theirs.
    """
    data = {
        "title": title,
        "paper": paper.paper.model_dump() if paper else None,
        "metrics": summary.metrics(runs),
        "experiments": summary.experiments(runs),
        "runs": [summary.run_facts(run) for run in runs],
        "fidelity": _fidelity(fidelity, paper),
        "expected": expectations(runs, paper) if paper else [],
        "beside": published_vs_ours.beside(runs, paper) if paper else [],
        "at_a_glance": published_vs_ours.at_a_glance(runs, paper) if paper else None,
        "published": [_table(table, paper) for table in paper.tables] if paper else [],
        "architecture": [
            {"builder": item.builder, "params": item.params, "source": published_vs_ours.cite(item.source, paper)}
            for item in (paper.architecture if paper else [])
        ],
        "peers": [
            {
                **peer.model_dump(exclude={"source"}),
                "digits": [decimals(row.top1 for row in peer.rows), decimals(row.reference for row in peer.rows)],
                "source": published_vs_ours.cite(peer.source, paper),
            }
            for peer in (paper.peers if paper else [])
        ],
        "commands": list(dict.fromkeys(run.command for run in runs if run.command)),
    }
    if paper and paper.claims:
        data["claims"] = claims(paper, runs, evaluations)
    if paper and paper.findings:
        data["findings"] = findings(paper, measured)
    return data


def _fidelity(rows: Sequence[FidelityRow], paper: PaperTables | None) -> dict:
    titles = {level.level: level for level in (paper.fidelity.levels if paper else [])}
    levels = [
        {
            "level": number,
            "title": titles[number].title if number in titles else f"Level {number}",
            "proves": titles[number].proves if number in titles else "",
            "rows": [row.model_dump() for row in rows if row.level == number],
        }
        for number in sorted({row.level for row in rows} | set(titles))
    ]
    return {
        "reference": paper.fidelity.reference if paper else None,
        "passed": sum(row.passed is True for row in rows),
        "failed": sum(row.passed is False for row in rows),
        "not_run": sum(row.passed is None for row in rows),
        "levels": levels if rows else [],
    }


def _table(table: Table, paper: PaperTables) -> dict:
    return {
        **table.model_dump(include={"id", "short", "title", "protocol", "metric"}),
        "columns": [column.name for column in table.columns],
        "rows": [
            {**row.model_dump(include={"group", "name", "values", "metric"}), "digits": _digits(row, table)}
            for row in table.rows
        ],
        "source": published_vs_ours.cite(table.source, paper),
    }


def _digits(row: Row, table: Table) -> list[int]:
    """Decimals of a row's cells: the column's for accuracies, none for a row in another unit, such as core-days."""
    if row.metric and row.metric != table.metric:
        return [0] * len(row.values)
    alike = [other.values for other in table.rows if not other.metric or other.metric == table.metric]
    return [decimals(values) for values in zip(*alike, strict=True)]


def jsonable(value: object) -> object:
    """Returns the value with infinities and NaN (a diverged loss) as None: strict JSON has neither."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value
