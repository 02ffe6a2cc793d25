"""Reproducing a paper: its fidelity checks, its trainings, and the report that sets them beside it."""

import dataclasses
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ppcore import config
from ppcore.engine.logger import clock, log, setup_logging
from ppcore.io import write_json
from ppcore.model import traits
from ppcore.report import ReportContent, read_run, write_report
from ppcore.report.run_data import Run
from ppcore.reproduce import (
    ablations,
    analyses,
    baseline_methods,
    classified,
    drawn_figures,
    evaluated_networks,
    fidelity_checks,
)
from ppcore.reproduce.finished_runs import load_run, shown_run
from ppcore.reproduce.launch import StepFailed, thread_variables, train_command, typed
from ppcore.reproduce.paper_page import PaperPage
from ppcore.reproduce.qualitative import image_grid
from ppcore.reproduce.quick import QuickRun, train
from ppcore.reproduce.recipes import Recipe, load_recipes, recipe


@dataclass(frozen=True)
class Reproduction:
    """A paper's reproduction: what `tools/reproduce.py` does.

    Attributes:
        page: the paper.
        output: folder for runs and the report.
        device: `auto`, `cpu` or `gpu`.
        began: when, on the monotonic clock.
    """

    page: PaperPage
    output: Path
    device: str = "auto"
    began: float = field(default_factory=time.monotonic)

    def quick(self) -> Path:
        """Trains the quick configurations and measures on them what the paper shows; returns the report's page.

        Raises:
            PPError: the page names what does not exist, or a step failed.
        """
        paper = self.page.tables
        ablations.check(paper, self.page.root)
        analyses.check(paper)
        content = self._checked(f"{paper.paper.short}: quick reproduction")
        runs = train(self.page, self.output, self.device)
        return self._written(self._measured(content, runs))

    def full(self, table: str | None, row: str | None, gpus: str | None) -> Path:
        """Trains a row of a published table at full scale; returns the report's page.

        Args:
            table: its id.
            row: its name.
            gpus: cards, as the launcher takes them.

        Raises:
            PPError: no such row, or a step failed.
        """
        paper = self.page.tables
        wanted = recipe(load_recipes(self.page.file, paper), table, row)
        settings = [config.load(self.page.files(step.configs), step.options) for step in wanted.steps]
        content = self._checked(f"{paper.paper.short}: {wanted.row}")
        _train(wanted, self.page, self.device, gpus)
        folder = Path(settings[-1].Global.output_dir)
        # Ablations and analyses are about the quick trainings; this row stands beside its published figure.
        paper = paper.model_copy(update={"ablations": [], "analyses": []})
        content = dataclasses.replace(content, paper=paper, runs=[read_run(folder)])
        return self._written(_pictured(content, folder))

    def _checked(self, title: str) -> ReportContent:
        """The fidelity checks, which come first."""
        fidelity_checks.check(self.page.tables)
        evaluated_networks.check(self.page)
        setup_logging()
        self.output.mkdir(parents=True, exist_ok=True)
        log.info("1/3 fidelity: is the code the paper's?")
        rows = fidelity_checks.fidelity_rows(self.page.tables, self.page.root)
        evaluated = evaluated_networks.measure(self.page, self.device)
        rows += evaluated_networks.fidelity_rows(self.page.tables, evaluated)
        write_json(self.output / "fidelity.json", [row.model_dump() for row in rows])
        counts = [sum(row.passed is result for row in rows) for result in (True, False, None)]
        log.info("fidelity: %d passed, %d failed, %d not run", *counts)
        log.info("2/3 training")
        return ReportContent(title=title, paper=self.page.tables, fidelity=rows, evaluated=evaluated)

    def _measured(self, content: ReportContent, runs: Sequence[QuickRun]) -> ReportContent:
        """Adds what is measured on quick trainings; the numbers are also left as JSON beside fidelity.json."""
        setup_logging()
        log.info("3/3 measurements and report")
        paper = self.page.tables
        measured = {
            "ablations": ablations.measure(paper, runs),
            "analyses": analyses.measure(paper, runs),
            "baselines": baseline_methods.measure(runs),
        }
        for name, values in measured.items():
            write_json(self.output / f"{name}.json", [dataclasses.asdict(value) for value in values])
        records, figures = [_recorded(run) for run in runs], drawn_figures.draw(paper, runs)
        return _pictured(dataclasses.replace(content, runs=records, figures=figures, **measured), shown_run(runs))

    def _written(self, content: ReportContent) -> Path:
        """Writes the report; returns its page."""
        page = write_report(self.output / "report", content)
        log.info("finished in %s", clock(time.monotonic() - self.began))
        return page


def _recorded(run: QuickRun) -> Run:
    """A run's record, under the name that the paper's page gives to its configuration."""
    record = read_run(run.folder)
    return dataclasses.replace(record, env={**record.env, "config": run.config})


def _pictured(content: ReportContent, shown: Path | None) -> ReportContent:
    """Adds test images: enhanced by every run that has baselines, or by the shown one; or classified by that."""
    if shown is None:
        return dataclasses.replace(content, classified_note=classified.NO_RUN)
    run = load_run(shown)
    if not traits(run.model).makes_images:
        images, note = classified.classify(run)
        return dataclasses.replace(content, classified=images, classified_note=note)
    beside = {measured.run: measured for measured in content.baselines}
    folders = [record.path for record in content.runs if record.name in beside] or [shown]
    grids = [image_grid(load_run(folder), beside.get(folder.name)) for folder in folders]
    return dataclasses.replace(content, image_grids=grids)


def _train(wanted: Recipe, page: PaperPage, device: str, gpus: str | None) -> None:
    """Trains a row's configurations in order as a user would, showing their output.

    Raises:
        StepFailed: one ended with an error; the message has the command.
    """
    for step in wanted.steps:
        options = [*step.options, f"Global.device={device}"]
        command = train_command(page.tools, page.files(step.configs), options, gpus=gpus)
        variables = thread_variables(1)
        if status := subprocess.run(command, env={**os.environ, **variables}).returncode:
            again = typed(command, variables)
            raise StepFailed(
                f"training {' + '.join(step.configs)} failed (exit status {status}); repeat it with: {again}"
            )
