"""Numbers for a paper's claims that training does not leave behind: weights evaluated once more, otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcore import config
from ppcore.engine import evaluate
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.report.published import PaperTables
from ppcore.reproduce.quick import QuickRun, options


def check(paper: PaperTables, root: Path) -> None:
    """Checks every `eval_options` against its config, before hours of training.

    Raises:
        ConfigError: an option does not fit.
    """
    items = {item.config: item for item in paper.quick}
    for claim in paper.claims:
        for row in claim.rows:
            for file in row.quick if row.eval_options else ():
                try:
                    trained = options(items[file], 0, Path("output"), "auto", items)
                    config.load(root / file, [*trained, *row.eval_options])
                except ConfigError as error:
                    raise ConfigError(f"claims: '{claim.id}', row '{row.name}': {error}") from None


def evaluations(paper: PaperTables, runs: Sequence[QuickRun]) -> list[dict[str, Any]]:
    """Evaluates the final weights of runs as the rows with `eval_options` ask.

    Args:
        paper: the paper's tables.
        runs: finished runs.

    Returns:
        One dict a claim, row and run: `claim`, `row`, `config`, `seed`, `run`, `options`, the metric's
        numbers (0..1), `n`, `skipped`, `weights`, `protocol`.

    Raises:
        ConfigError: the evaluation has no such metric.
    """
    found: dict[tuple[Path, tuple[str, ...]], dict[str, Any]] = {}  # two claims may ask for the same
    rows = []
    for claim in paper.claims:
        for row in claim.rows:
            for run in runs if row.eval_options else ():
                if run.config not in row.quick:
                    continue
                key = run.folder, tuple(row.eval_options)
                if key not in found:
                    log.info("%s with %s", run.folder.name, " ".join(row.eval_options))
                    settings = config.load(run.folder / "config.yaml", row.eval_options)
                    found[key] = evaluate.run(settings, str(run.folder / "checkpoints" / "latest"))
                result = found[key]
                if claim.metric not in result:
                    raise ConfigError(f"claims: '{claim.id}': evaluating {run.config} gives no '{claim.metric}'")
                about = {"claim": claim.id, "row": row.name, "config": run.config, "seed": run.seed}
                rows.append({**about, "run": run.folder.name, "options": list(row.eval_options), **result})
    return rows
