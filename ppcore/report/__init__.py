"""Reports: published tables, runs and fidelity checks, put side by side without mixing them up."""

from ppcore.engine.rollout import attention_rollout, overlay
from ppcore.report.fidelity_table import FidelityRow, load_rows
from ppcore.report.html import write_report
from ppcore.report.published import PaperTables, load_paper
from ppcore.report.run_data import Run, read_run

__all__ = [
    "FidelityRow",
    "PaperTables",
    "Run",
    "attention_rollout",
    "load_paper",
    "load_rows",
    "overlay",
    "read_run",
    "write_report",
]
