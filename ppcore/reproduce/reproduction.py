"""Reproducing a paper: its fidelity checks, its trainings, and the report that sets them beside it."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcore import config
from ppcore.config import components, roles
from ppcore.engine import evaluate
from ppcore.engine.logger import clock, log, setup_logging
from ppcore.errors import ConfigError, nearest
from ppcore.io import write_json
from ppcore.report import load_paper, read_run, write_report
from ppcore.report.published import PaperTables
from ppcore.reproduce import ablations, analyses, classified, qualitative, quick
from ppcore.reproduce.fidelity import count_parameters
from ppcore.reproduce.launch import StepFailed, thread_variables, train_command, typed
from ppcore.reproduce.recipes import Recipe, load_recipes, recipe


def fidelity_rows(paper: PaperTables, root: Path) -> list[dict[str, Any]]:
    """Runs every fidelity check that can run here.

    Args:
        paper: the paper's tables.
        root: the repository.

    Returns:
        Rows for the report; a check whose data is absent has `passed` None and says why.
    """
    package = paper.fidelity.measure.split(".")[0]
    began = time.monotonic()
    wrong = []
    for item in paper.architecture:
        found = count_parameters(components.resolve(f"{package}.{item.builder}", "architecture", roles.NETWORK))
        if found != item.params:
            wrong.append(f"{item.builder}: {found:,} instead of {item.params:,}")
    total = len(paper.architecture)
    rows = [
        {
            "level": 1, "what": f"parameters of {total} builders", "reference": "published counts",
            "measured": f"{total - len(wrong)} of {total} equal", "kind": "to the unit", "tolerance": "all",
            "passed": not wrong, "seconds": time.monotonic() - began, "note": "; ".join(wrong),
        }
    ]  # fmt: skip
    began = time.monotonic()
    reference = root / paper.fidelity.reference
    measured = components.resolve(paper.fidelity.measure, "fidelity", roles.FIDELITY)(reference)
    seconds = (time.monotonic() - began) / len(measured)
    for row in measured:
        rows.append(
            {
                "level": row.level, "what": row.what, "reference": f"{paper.fidelity.computed_by}, stored in {reference.name}",
                "measured": row.measured, "kind": row.kind, "tolerance": row.tolerance, "passed": row.passed,
                "seconds": seconds,
            }
        )  # fmt: skip
    return rows + [_trained_row(item, root) for item in paper.fidelity.trained]


def _trained_row(item: Any, root: Path) -> dict[str, Any]:
    row = {"level": 5, "what": item.what, "reference": item.reference, "kind": "accuracy", "tolerance": item.tolerance}
    missing = quick.missing_data(item.needs)
    if missing:
        return {**row, "passed": None, "note": missing}
    result = evaluate.run(config.load(root / item.config))
    value = result[item.metric]
    passed = abs(value - item.expected) <= item.tolerance
    return {**row, "measured": value, "passed": passed, "seconds": result["seconds"], "note": result["protocol"]}


def run(
    name: str,
    *,
    root: Path,
    output: Path,
    scale: str,
    table: str | None,
    row: str | None,
    device: str,
    gpus: str | None,
) -> Path:
    """What `tools/reproduce.py` does.

    Args:
        name: a paper of `papers/`.
        root: the repository.
        output: folder for runs and the report.
        scale: `quick`, or `full` for a row of a published table.
        table: id of the table.
        row: name of the row.
        device: `auto`, `cpu` or `gpu`.
        gpus: cards for `full`, as the launcher takes them.

    Returns:
        The report's page.

    Raises:
        PPError: unknown paper, table or row, or a step that failed.
    """
    known = sorted(path.stem for path in (root / "papers").glob("*.yaml") if not path.stem.endswith("_recipes"))
    if name not in known:
        raise ConfigError(f"no paper '{name}'{nearest(name, known)}; papers: {', '.join(known)}")
    file = root / "papers" / f"{name}.yaml"
    paper = load_paper(file)
    wanted = recipe(load_recipes(file, paper), table, row) if scale == "full" else None
    if wanted is None:
        ablations.check(paper, root)
        analyses.check(paper)
    else:
        settings = [config.load([root / file for file in step.configs], step.options) for step in wanted.steps]
    setup_logging()
    began = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    log.info("1/3 fidelity: is the code the paper's?")
    rows = fidelity_rows(paper, root)
    write_json(output / "fidelity.json", rows)
    log.info(
        "fidelity: %d passed, %d failed, %d not run",
        *(sum(r["passed"] is v for r in rows) for v in (True, False, None)),
    )
    log.info("2/3 training")
    if wanted is None:
        content = _quick(paper, root, output, device)
        title = f"{paper.paper.short}: quick reproduction"
    else:
        _train(wanted, root, device, gpus)
        folder = Path(settings[-1].Global.output_dir)
        content = _shown([folder], folder)
        # Claims and findings are about the quick trainings; this row stands beside its published figure.
        paper = paper.model_copy(update={"claims": [], "findings": []})
        title = f"{paper.paper.short}: {wanted.row}"
    page = write_report(output / "report", paper=paper, fidelity=rows, title=title, **content)
    log.info("finished in %s", clock(time.monotonic() - began))
    return page


def _quick(paper: PaperTables, root: Path, output: Path, device: str) -> dict[str, Any]:
    """Quick trainings and what is measured on them; the numbers are also left as JSON beside fidelity.json."""
    runs = quick.train(paper, root, output, device)
    setup_logging()
    log.info("3/3 measurements and report")
    evaluations, curves = ablations.evaluations(paper, runs), analyses.measure(paper, runs)
    write_json(output / "claims.json", evaluations)
    write_json(output / "findings.json", curves)
    others = qualitative.methods(runs)
    write_json(output / "methods.json", others)
    content = _shown([run.folder for run in runs], classified.choose(runs), others)
    figures = qualitative.figures(paper, runs)
    return {**content, "evaluations": evaluations, "findings": curves, "methods": others, "figures": figures}


def _shown(folders: list[Path], pictured: Path | None, others: Sequence[dict] = ()) -> dict[str, Any]:
    content = {"runs": [read_run(folder) for folder in folders], "predictions": []}
    if classified.restores(pictured):
        shown = [folder for folder in folders if folder.name in {item["run"] for item in others}] or [pictured]
        return {**content, "restored": qualitative.pictures(shown, others)}
    cards, about = classified.pictures(pictured)
    return {**content, "predictions": cards, "predictions_note": about}


def _train(wanted: Recipe, root: Path, device: str, gpus: str | None) -> None:
    """Trains a row's configurations in order as a user would, showing their output.

    Raises:
        StepFailed: one ended with an error; the message has the command.
    """
    for step in wanted.steps:
        command = train_command(root, step.configs, [*step.options, f"Global.device={device}"], gpus=gpus)
        variables = thread_variables(1)
        if status := subprocess.run(command, env={**os.environ, **variables}).returncode:
            again = typed(command, variables)
            raise StepFailed(
                f"training {' + '.join(step.configs)} failed (exit status {status}); repeat it with: {again}"
            )
