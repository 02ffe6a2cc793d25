"""The curves of a paper's analyses, measured on the networks of finished runs."""

import math
from collections.abc import Sequence

import paddle

from ppcore.config import components, roles
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.report.comparisons import Analysis
from ppcore.report.content_types import AnalysisMeasurement
from ppcore.report.published import PaperTables
from ppcore.reproduce.finished_runs import first_images, load_run
from ppcore.reproduce.quick import QuickRun


def check(paper: PaperTables) -> None:
    """Checks that what analyses measure with and figures are drawn with exists, before hours of training.

    Raises:
        ConfigError: it does not.
    """
    named = [(item.measure, f"analyses: '{item.id}', measure", roles.ANALYSIS) for item in paper.analyses]
    of = {"pairs": roles.FIGURE, "network": roles.ANALYSIS}
    named += [(item.draw, f"figures_drawn: '{item.id}', draw", of[item.of]) for item in paper.figures_drawn]
    for name, where, role in named:
        components.resolve(name, where, role)


def measure(paper: PaperTables, runs: Sequence[QuickRun]) -> list[AnalysisMeasurement]:
    """Measures every analysis on every finished run of its quick configs.

    Raises:
        ConfigError: a measure returns something else than finite numbers.
    """
    asked = [(analysis, run) for analysis in paper.analyses for run in runs if run.config in analysis.quick]
    return [_measured(analysis, run) for analysis, run in asked]


def _measured(analysis: Analysis, run: QuickRun) -> AnalysisMeasurement:
    function = components.resolve(analysis.measure, "analyses", roles.ANALYSIS)
    finished = load_run(run.folder)
    images = first_images(finished)
    with paddle.no_grad():
        values = [float(value) for value in function(finished.model, images)]
    if not values or not all(math.isfinite(value) for value in values):
        raise ConfigError(f"analyses: {analysis.measure} gave {values} for {run.folder}: expected finite numbers")
    log.info("%s of %s: %s", analysis.id, run.folder.name, " ".join(f"{value:.3f}" for value in values))
    return AnalysisMeasurement(analysis.id, run.config, run.seed, run.folder.name, len(images), values)
