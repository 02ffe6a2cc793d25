"""The paper's figures, drawn anew on test images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import config
from ppcore.config import Config, components, roles
from ppcore.engine import distributed
from ppcore.report.comparisons import DrawnFigure
from ppcore.report.content_types import FigureGrid, Panel, PanelRow
from ppcore.report.published import PaperTables
from ppcore.reproduce.finished_runs import first_images, first_seeds, first_test_images, load_run
from ppcore.reproduce.quick import QuickRun

PAIRS = 16  # test pairs that a figure measures


def draw(paper: PaperTables, runs: Sequence[QuickRun]) -> list[FigureGrid]:
    """Draws every figure on test images of each of its quick configs."""
    grids = []
    for figure in paper.figures_drawn:
        for run in first_seeds(runs):
            if run.config in figure.quick:
                drawn = _drawn(figure, run)
                rows = [
                    PanelRow(row["label"], [Panel(panel["caption"], panel["image"]) for panel in row["panels"]])
                    for row in drawn["rows"]
                ]
                grids.append(FigureGrid(figure.id, run.config, run.folder.name, rows, drawn["text"]))
    return grids


def _drawn(figure: DrawnFigure, run: QuickRun) -> dict[str, Any]:
    if figure.of == "pairs":
        draw = components.resolve(figure.draw, "figures_drawn", roles.FIGURE)
        return draw(first_pairs(config.load(run.folder / "config.yaml")))
    finished = load_run(run.folder)
    draw = components.resolve(figure.draw, "figures_drawn", roles.ANALYSIS)
    with paddle.no_grad():
        return draw(finished.model, first_images(finished))


def first_pairs(settings: Config) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first test pairs (image, target), float32 [H, W, 3], up to `PAIRS`."""
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    batches = first_test_images(settings, PAIRS, world)
    pairs = [pair for batch in batches for pair in zip(batch["image"], batch["target"], strict=True)]
    return [(image.transpose(1, 2, 0), target.transpose(1, 2, 0)) for image, target in pairs]
