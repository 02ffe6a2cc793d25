"""Finished runs: their networks with the final weights, and images of their test sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
import paddle.nn as nn

from ppcore import config
from ppcore.config import Config
from ppcore.data import Dataset, EvalLoader
from ppcore.engine import build, distributed
from ppcore.engine.distributed import World
from ppcore.engine.trained import load_model
from ppcore.reproduce.quick import QuickRun

IMAGES = 256  # the first of a test set, which a figure or a curve is measured on


class Subset:
    """Some images of a dataset, in the order of `chosen`."""

    def __init__(self, images: Dataset, chosen: Sequence[int]):
        self.images, self.chosen = images, chosen
        self.classes, self.num_classes = images.classes, images.num_classes

    def __len__(self) -> int:
        return len(self.chosen)

    def load(self, index: int) -> dict[str, Any]:
        """Returns a sample by its place among the chosen."""
        return self.images.load(self.chosen[index])


@dataclass(frozen=True)
class FinishedRun:
    """A run's configuration, its network with the final weights in evaluation mode, and the processes (one)."""

    folder: Path
    settings: Config
    model: nn.Layer
    world: World


def load_run(folder: Path) -> FinishedRun:
    """Reads a run's folder and builds its network."""
    settings = config.load(folder / "config.yaml")
    world = distributed.start(settings.Global.device, tf32=settings.Global.tf32)
    model, _ = load_model(settings, str(folder / "checkpoints" / "latest"))
    model.eval()
    return FinishedRun(folder, settings, model, world)


def first_test_images(settings: Config, count: int, world: World) -> EvalLoader:
    """Batches of the first test images, up to `count`."""
    part = build.section(settings, "Eval")
    images = build.dataset(part, None)
    return build.eval_loader(part, Subset(images, range(min(count, len(images)))), world)


def first_images(run: FinishedRun) -> paddle.Tensor:
    """The first test images as the network takes them: float32 [N, C, H, W], N up to `IMAGES`."""
    batches = first_test_images(run.settings, IMAGES, run.world)
    return paddle.concat([paddle.to_tensor(batch["image"]) for batch in batches])


def even_test_images(settings: Config, count: int, world: World, batch_size: int | None = None) -> EvalLoader:
    """Batches of up to `count` test images, evenly over the test set; by default of the size of evaluation's."""
    part = build.section(settings, "Eval")
    images = build.dataset(part, None)
    count = min(count, len(images))
    if batch_size is not None:
        part = part.model_copy(update={"batch_size": batch_size})
    return build.eval_loader(part, Subset(images, [i * len(images) // count for i in range(count)]), world)


def first_seeds(runs: Sequence[QuickRun]) -> list[QuickRun]:
    """The first run of each configuration."""
    return list({run.config: run for run in reversed(runs)}.values())[::-1]


def shown_run(runs: Sequence[QuickRun]) -> Path | None:
    """The run whose images are shown: the last student; without one the last that nobody learned from; else a teacher."""
    if not runs:
        return None
    rank = [(run.uses, not run.used, number) for number, run in enumerate(runs)]
    return runs[max(rank)[-1]].folder
