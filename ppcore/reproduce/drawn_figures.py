"""The paper's figures, drawn anew on test pairs."""

from collections.abc import Sequence

import numpy as np

from ppcore import config
from ppcore.config import Config, components, roles
from ppcore.engine import distributed
from ppcore.report.content_types import FigureGrid, Panel, PanelRow
from ppcore.report.published import PaperTables
from ppcore.reproduce.finished_runs import first_seeds, first_test_images
from ppcore.reproduce.quick import QuickRun

PAIRS = 16  # test pairs that a figure measures


def draw(paper: PaperTables, runs: Sequence[QuickRun]) -> list[FigureGrid]:
    """Draws every figure on test pairs of each of its quick configs."""
    grids = []
    for figure in paper.figures_drawn:
        function = components.resolve(figure.draw, "figures_drawn", roles.FIGURE)
        for run in first_seeds(runs):
            if run.config in figure.quick:
                drawn = function(first_pairs(config.load(run.folder / "config.yaml")))
                rows = [
                    PanelRow(row["label"], [Panel(panel["caption"], panel["image"]) for panel in row["panels"]])
                    for row in drawn["rows"]
                ]
                grids.append(FigureGrid(figure.id, run.config, run.folder.name, rows, drawn["text"]))
    return grids


def first_pairs(settings: Config) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first test pairs (image, target), float32 [H, W, 3], up to `PAIRS`."""
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    batches = first_test_images(settings, PAIRS, world)
    pairs = [pair for batch in batches for pair in zip(batch["image"], batch["target"], strict=True)]
    return [(image.transpose(1, 2, 0), target.transpose(1, 2, 0)) for image, target in pairs]
