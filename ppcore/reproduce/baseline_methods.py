"""Other methods, which have no weights, on the test images of a paper's quick configurations."""

from collections.abc import Sequence
from typing import Any

from ppcore import config
from ppcore.config import Config
from ppcore.engine import evaluate, evaluators
from ppcore.engine.logger import log
from ppcore.engine.run_folder import protocol
from ppcore.report.content_types import BaselineResult, Baselines
from ppcore.reproduce.finished_runs import first_seeds
from ppcore.reproduce.quick import QuickRun


def measure(runs: Sequence[QuickRun]) -> list[Baselines]:
    """Evaluates the models of `Baselines` on the test images of each quick config that has some, once for all its seeds.

    Returns:
        One a config, under the run of its first seed; the results are in the order of `nodes`.
    """
    loaded = [(run, config.load(run.folder / "config.yaml")) for run in first_seeds(runs)]
    return [_measured(run, settings) for run, settings in loaded if nodes(settings)]


def nodes(settings: Config) -> list[dict[str, Any]]:
    """The components of `Baselines` that are evaluated: `Arch` is not repeated beside itself."""
    return [node for node in settings.Baselines if node != settings.Arch]


def _measured(run: QuickRun, settings: Config) -> Baselines:
    log.info("%d other methods on the test images of %s", len(nodes(settings)), run.config)
    specs = evaluators.metric_specs(settings)
    results = [
        BaselineResult(
            method=row["method"],
            numbers={spec.key: row[spec.key] for spec in specs},
            n=row["n"],
            seconds=row["seconds"],
        )
        for row in evaluate.baselines(settings)
    ]
    return Baselines(run.config, run.folder.name, protocol(settings, "float32"), specs, results)
