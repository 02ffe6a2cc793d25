"""Reproducing a paper: its fidelity checks, its trainings, and the report that sets them beside it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ppcore import components, config, runtime
from ppcore.engine import build, distributed, evaluate, predict
from ppcore.engine.events import clock, log, setup_logging, write_json
from ppcore.errors import ConfigError, PPError, nearest
from ppcore.fidelity import count_parameters
from ppcore.report import load_paper, read_run, write_report
from ppcore.report.published import PaperTables, Quick, Recipe


class StepFailed(PPError):
    """A training that reproduction started has failed."""


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
        found = count_parameters(components.resolve(f"{package}.{item.builder}", "architecture"))
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
    measured = components.resolve(paper.fidelity.measure, "fidelity")(reference)
    seconds = (time.monotonic() - began) / len(measured)
    for row in measured:
        rows.append(
            {
                "level": row.level, "what": row.what, "reference": f"torch and transformers, stored in {reference.name}",
                "measured": row.measured, "kind": row.kind, "tolerance": row.tolerance, "passed": row.passed,
                "seconds": seconds,
            }
        )  # fmt: skip
    return rows + [_trained_row(item, root) for item in paper.fidelity.trained]


def _trained_row(item: Any, root: Path) -> dict[str, Any]:
    row = {"level": 5, "what": item.what, "reference": item.reference, "kind": "accuracy", "tolerance": item.tolerance}
    missing = missing_data(item.needs)
    if missing:
        return {**row, "passed": None, "note": missing}
    result = evaluate.run(config.load(root / item.config))
    value = result[item.metric]
    passed = abs(value - item.expected) <= item.tolerance
    return {**row, "measured": value, "passed": passed, "seconds": result["seconds"], "note": result["protocol"]}


def missing_data(needs: str | None) -> str | None:
    """Why optional data cannot be used; None when it is there or none is needed."""
    if needs is None:
        return None
    folder = os.environ.get("PP_DATA_DIR")
    if not folder:
        return f"PP_DATA_DIR is not set (it would hold {needs})"
    return None if (Path(folder) / needs).is_file() else f"PP_DATA_DIR has no {needs}"


def quick(paper: PaperTables, root: Path, output: Path, device: str) -> list[Path]:
    """Trains the paper's quick configurations whose data is there; finished runs are kept."""
    folders = []
    for item in paper.quick:
        missing = missing_data(item.needs)
        if missing:
            log.info("left out %s: %s", item.config, missing)
            continue
        for seed in item.run_seeds:
            folder = output / f"{Path(item.config).stem}_seed{seed}"
            options = [f"Global.output_dir={folder}", f"Global.seed={seed}", f"Global.device={device}"]
            _train(root, item.config, options, _processes(item, device), item.threads)
            folders.append(folder)
    return folders


def _processes(item: Quick, device: str) -> int:
    """Processes for a quick run: data parallel over the cores of a CPU, one on a GPU."""
    on_gpu = device == "gpu" or (device == "auto" and runtime.has_nvidia_gpu())
    return 1 if on_gpu else min(item.processes, runtime.available_cores())


def _train(
    root: Path,
    file: str,
    options: list[str],
    processes: int = 1,
    threads: int | None = None,
    gpus: str | None = None,
) -> None:
    """Runs tools/train.py as a user would, showing its output.

    Raises:
        StepFailed: it ended with an error; the message has the command.
    """
    arguments = [str(root / "tools" / "train.py"), "-c", str(root / file)]
    for option in options:
        arguments += ["-o", option]
    launcher: list[str] = []
    if gpus or processes > 1:
        launcher = ["-m", "paddle.distributed.launch", "--log_dir", "output/launch"]
        if gpus:
            launcher += ["--gpus", gpus]
        else:  # gloo works on CPUs only
            launcher += ["--nproc_per_node", str(processes)]
            arguments += ["-o", "Global.device=cpu"]
    command = [sys.executable, *launcher, *arguments]
    # This process has set its own share of the threads; each training gets one of its own.
    share = threads or max(runtime.available_cores() // processes, 1)
    environment = {**os.environ, "OMP_NUM_THREADS": str(share)}
    if subprocess.run(command, env=environment).returncode:
        raise StepFailed(f"training {file} failed; run it alone to see why: python tools/train.py -c {file}")


def pictures(folder: Path, count: int = 12) -> list[dict[str, Any]]:
    """Classifies the first test images of a run, evenly over the test set, with attention rollout."""
    settings = config.load(folder / "config.yaml")
    world = distributed.start(settings.Global.device)
    model, _ = evaluate.load_model(settings, str(folder))
    part = build.section(settings, "Eval")
    images = components.build(part.dataset)
    chosen = [i * len(images) // count for i in range(count)]
    loader = build.eval_loader(part, _Subset(images, chosen), world)
    found = predict.predictions(model, loader, topk=3, names=images.classes, rollout=True)
    shown = []
    for item in found:
        sample = images.load(chosen[item["index"]])
        top = [(entry["name"] or str(entry["class"]), entry["probability"]) for entry in item["topk"]]
        shown.append(
            {
                "image": sample["image"], "label": _name(images, sample["label"]), "pred": top[0][0],
                "prob": top[0][1], "topk": top, "attention": item["attention"],
            }
        )  # fmt: skip
    return shown


class _Subset:
    """Some images of a dataset."""

    def __init__(self, images: Any, chosen: list[int]):
        self.images, self.chosen = images, chosen
        self.classes, self.num_classes = images.classes, images.num_classes

    def __len__(self) -> int:
        return len(self.chosen)

    def load(self, index: int) -> dict[str, Any]:
        return self.images.load(self.chosen[index])


def _name(images: Any, label: int) -> str:
    return images.classes[label] if images.classes else str(label)


def recipe(paper: PaperTables, table: str | None, row: str | None) -> Recipe:
    """The full-scale recipe of a table's row.

    Raises:
        ConfigError: no such row; the message lists those there are.
    """
    rows = {item.row: item for item in paper.reproduce if table in (None, item.table)}
    if row in rows:
        return rows[row]
    if not rows:
        tables = sorted({item.table for item in paper.reproduce})
        raise ConfigError(
            f"--table {table}: no recipe for it{nearest(str(table), tables)}; tables: {', '.join(tables)}"
        )
    hint = nearest(row, rows) if row else ""
    raise ConfigError(f"--row {row or 'is missing'}{hint}; rows: {'; '.join(sorted(rows))}")


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
    known = sorted(path.stem for path in (root / "papers").glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"no paper '{name}'{nearest(name, known)}; papers: {', '.join(known)}")
    paper = load_paper(root / "papers" / f"{name}.yaml")
    wanted = recipe(paper, table, row) if scale == "full" else None
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
        folders = quick(paper, root, output, device)
    else:
        for step in wanted.configs:
            _train(root, step.config, [*step.options, f"Global.device={device}"], gpus=gpus)
        last = wanted.configs[-1]
        folders = [Path(config.load(root / last.config, last.options).Global.output_dir)]
    setup_logging()
    log.info("3/3 report")
    title = f"{paper.paper.short}: {'quick reproduction' if wanted is None else wanted.row}"
    page = write_report(
        output / "report",
        paper=paper,
        runs=[read_run(folder) for folder in folders],
        fidelity=rows,
        predictions=pictures(folders[-1]),
        title=title,
    )
    log.info("finished in %s", clock(time.monotonic() - began))
    return page
