"""A paper's ablations that training does not leave behind: weights evaluated once more, otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcore import config
from ppcore.engine import evaluate
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.report.content_types import AblationEvaluation
from ppcore.report.published import PaperTables
from ppcore.reproduce.quick import QuickRun, options


def check(paper: PaperTables, root: Path) -> None:
    """Checks every `eval_options` against its config, before hours of training.

    Args:
        paper: the paper's tables.
        root: the folder that its configurations are named from.

    Raises:
        ConfigError: an option does not fit.
    """
    items = {item.config: item for item in paper.quick}
    rows = [(ablation.id, row) for ablation in paper.ablations for row in ablation.rows if row.eval_options]
    for ablation, row in rows:
        for file in row.quick:
            try:
                trained = options(items[file], 0, Path("output"), "auto", items)
                config.load(root / file, [*trained, *row.eval_options])
            except ConfigError as error:
                raise ConfigError(f"ablations: '{ablation}', row '{row.name}': {error}") from None


def measure(paper: PaperTables, runs: Sequence[QuickRun]) -> list[AblationEvaluation]:
    """Evaluates the final weights of finished runs as the rows with `eval_options` ask.

    Raises:
        ConfigError: the evaluation has no such metric.
    """
    results: dict[tuple[Path, tuple[str, ...]], dict[str, Any]] = {}  # two ablations may ask for the same
    evaluations = []
    for ablation in paper.ablations:
        asked = [(row, run) for row in ablation.rows if row.eval_options for run in runs if run.config in row.quick]
        for row, run in asked:
            key = run.folder, tuple(row.eval_options)
            if key not in results:
                results[key] = _evaluated(run.folder, row.eval_options)
            result = results[key]
            if ablation.metric not in result:
                raise ConfigError(f"ablations: '{ablation.id}': evaluating {run.config} gives no '{ablation.metric}'")
            evaluation = AblationEvaluation(
                ablation=ablation.id,
                row=row.name,
                config=run.config,
                seed=run.seed,
                run=run.folder.name,
                options=list(row.eval_options),
                numbers={key: value for key, value in result.items() if isinstance(value, float) and key != "seconds"},
                **{key: result[key] for key in ("n", "skipped", "weights", "protocol")},
            )
            evaluations.append(evaluation)
    return evaluations


def _evaluated(folder: Path, eval_options: Sequence[str]) -> dict[str, Any]:
    log.info("%s with %s", folder.name, " ".join(eval_options))
    settings = config.load(folder / "config.yaml", eval_options)
    return evaluate.run(settings, str(folder / "checkpoints" / "latest"))
