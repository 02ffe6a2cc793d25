"""What is checked before a training starts, so that nothing is found out at its first evaluation, hours later."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import Config, LoaderSection, components
from ppcore.data import EvalBatchSampler, EvalLoader
from ppcore.engine import build, evaluators
from ppcore.engine.distributed import World
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import log
from ppcore.engine.precision import Precision
from ppcore.errors import ConfigError, DataError, PPError

_IMAGES = 2  # of each dataset that are read
_PIXELS = 2**20  # evaluation images larger than this are read, but not put through the network
_SECONDS = 5.0  # for looking whether files are there
_SHOWN = 3


def check(
    config: Config,
    model: nn.Layer,
    datasets: Mapping[str, Any],
    world: World,
    precision: Precision,
    folder: Path,
) -> None:
    """Reads images of every dataset, puts evaluation's through the network and the metric, looks for files and room.

    Args:
        config: of the run.
        model: as built; its state is not changed.
        datasets: by their keys below `DataLoader`: `Train`, `Eval` (or None), `Beside.NAME`.
        world: the processes; files and room are looked at by the main one.
        precision: AMP.
        folder: the run's.

    Raises:
        PPError: all that was found, in one line.
    """
    problems: list[str] = []

    @contextmanager
    def noting(what: str) -> Iterator[None]:
        try:
            yield
        except PPError as error:
            problems.append(f"{what}: {error}")

    data = config.DataLoader
    parts = {"Train": data.Train, "Eval": data.Eval, **{f"Beside.{name}": part for name, part in data.Beside.items()}}
    for name, part in parts.items():
        images = datasets[name]
        if images is None:
            continue
        where = f"DataLoader.{name}"
        with noting(where):
            for number, batch in enumerate(_first_batches(part, images)):
                if "image" in batch:
                    check_input(model, batch["image"], name)
                if name == "Eval" and number == 0:
                    _evaluate(config, model, batch, precision)
        if world.is_main:
            with noting(where):
                _look_for_files(images, where, part.unreadable == "skip")
    if world.is_main:
        with noting("Global.output_dir"):
            _look_for_room(model, config, folder)
    if problems:
        raise ConfigError("; ".join(problems))


def _first_batches(part: LoaderSection, images: Any) -> Iterator[dict[str, np.ndarray]]:
    """The first images of a split in batches of its size, as training or evaluation would be given it but for the batch transforms."""
    count = min(_IMAGES, len(images))
    loader = EvalLoader(
        _First(images, count),
        build.transforms(part.transforms),
        EvalBatchSampler(count, min(count, part.batch_size)),
        0,
        part.unreadable,
    )
    return iter(loader)


class _First:
    """The first images of a dataset."""

    def __init__(self, images: Any, count: int):
        self.load: Callable[[int], dict[str, Any]] = images.load
        self.count = count

    def __len__(self) -> int:
        return self.count


@paddle.no_grad()
def _evaluate(config: Config, model: nn.Layer, batch: dict[str, np.ndarray], precision: Precision) -> None:
    """Puts a batch through the network and the metrics."""
    if batch["image"][0, 0].size > _PIXELS:
        return
    was_training = model.training
    model.eval()
    try:
        for node in filter(evaluators.is_metric, config.metrics()):
            metric = components.build(node)
            metric.update(precision.forward(model, paddle.to_tensor(batch["image"])), batch)
            metric.compute()
    finally:
        if was_training:
            model.train()


def _look_for_files(images: Any, where: str, skipping: bool) -> None:
    """Whether the files of a dataset are there: all of them, or as many as a few seconds allow, spread evenly."""
    paths = getattr(images, "paths", None)
    if paths is None:
        return
    began, absent, looked = time.monotonic(), [], 0
    step = next(s for s in range(max(len(paths) // 2, 1) | 1, 2 * len(paths) + 2, 2) if np.gcd(s, len(paths)) == 1)
    for number in range(len(paths)):  # a stride without a common factor: every path once, neighbours far apart
        path = paths[number * step % len(paths)]
        looked += 1
        if not os.path.isfile(path):
            absent.append(path)
        if time.monotonic() - began > _SECONDS:
            log.info("%s: looked for %d of %d files", where, looked, len(paths))
            break
    if not absent:
        return
    shown = ", ".join(sorted(absent)[:_SHOWN])
    text = f"{len(absent)} of {looked} files that were looked for are missing: {shown}{', …' * (len(absent) > _SHOWN)}"
    if not skipping:
        raise DataError(text)
    log.warning("%s: %s", where, text)


def _look_for_room(model: nn.Layer, config: Config, folder: Path) -> None:
    """Whether the disk has room for a checkpoint: weights, up to two moments and an average in float32."""
    needed = 4 * sum(p.size for p in model.parameters()) * (4 if config.EMA else 3)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder} is on a disk with {free / 1e6:,.0f} MB free, and a checkpoint takes up to {needed / 1e6:,.0f} MB"
        )
