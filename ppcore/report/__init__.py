"""Reports: published tables, runs and fidelity checks, put side by side without mixing them up."""

from ppcore.report.content_types import FidelityRow, ReportContent
from ppcore.report.fidelity_table import load_rows
from ppcore.report.html import write_report
from ppcore.report.published import PaperTables, load_paper
from ppcore.report.run_data import Run, read_run

__all__ = [
    "FidelityRow",
    "PaperTables",
    "ReportContent",
    "Run",
    "load_paper",
    "load_rows",
    "read_run",
    "write_report",
]
