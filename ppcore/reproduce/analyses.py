"""The curves of a paper's findings, measured on the models of finished runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle
import paddle.nn as nn

from ppcore import config
from ppcore.config import Config, components, roles
from ppcore.engine import build, distributed, evaluate
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.report.published import PaperTables
from ppcore.reproduce.quick import QuickRun

IMAGES = 256  # the first of the test set


class Subset:
    """Some images of a dataset."""

    def __init__(self, images: Any, chosen: Sequence[int]):
        self.images, self.chosen = images, chosen
        self.classes, self.num_classes = images.classes, images.num_classes

    def __len__(self) -> int:
        return len(self.chosen)

    def load(self, index: int) -> dict[str, Any]:
        """Returns a sample by its place among the chosen."""
        return self.images.load(self.chosen[index])


def load_run(folder: Path) -> tuple[Config, nn.Layer, distributed.World]:
    """The configuration of a run, its model with the final weights in evaluation mode, and the device's world."""
    settings = config.load(folder / "config.yaml")
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    model, _ = evaluate.load_model(settings, str(folder / "checkpoints" / "latest"))
    model.eval()
    return settings, model, world


def check(paper: PaperTables) -> None:
    """Checks that every `measure` and every `draw` exists, before hours of training.

    Raises:
        ConfigError: it does not.
    """
    for finding in paper.findings:
        components.resolve(finding.measure, f"findings: '{finding.id}', measure", roles.FINDING)
    for figure in paper.figures_drawn:
        components.resolve(figure.draw, f"figures_drawn: '{figure.id}', draw", roles.FIGURE)


def measure(paper: PaperTables, runs: Sequence[QuickRun]) -> list[dict[str, Any]]:
    """Measures every finding on every run of its quick configs.

    Args:
        paper: the paper's tables.
        runs: finished runs.

    Returns:
        One dict a finding and run: `finding`, `config`, `seed`, `run`, `images` (how many), `values`.

    Raises:
        ConfigError: a measure returns something else than finite numbers.
    """
    rows = []
    for finding in paper.findings:
        function = components.resolve(finding.measure, "findings", roles.FINDING)
        for run in runs:
            if run.config not in finding.quick:
                continue
            settings, model, world = load_run(run.folder)
            images = first_images(settings, world)
            with paddle.no_grad():
                values = function(model, images)
            values = [float(value) for value in values]
            if not values or not all(math.isfinite(value) for value in values):
                raise ConfigError(
                    f"findings: {finding.measure} gave {values} for {run.folder}: expected finite numbers"
                )
            log.info("%s of %s: %s", finding.id, run.folder.name, " ".join(f"{value:.3f}" for value in values))
            about = {"finding": finding.id, "config": run.config, "seed": run.seed, "run": run.folder.name}
            rows.append({**about, "images": len(images), "values": values})
    return rows


def first_images(settings: Config, world: distributed.World) -> paddle.Tensor:
    """The first test images as the model takes them: float32 [N, C, H, W], N up to `IMAGES`."""
    part = build.section(settings, "Eval")
    images = components.build(part.dataset)
    loader = build.eval_loader(part, Subset(images, range(min(IMAGES, len(images)))), world)
    return paddle.concat([paddle.to_tensor(batch["image"]) for batch in loader])
