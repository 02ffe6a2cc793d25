"""From a checked configuration to the objects of a run."""

from typing import Any

import paddle
import paddle.nn as nn

from ppcore import components, weights
from ppcore.checkpoint import weight_file
from ppcore.config import Config, LoaderSection
from ppcore.data import EvalLoader, EvalStream, Normalize, TrainLoader, TrainStream, check_labels
from ppcore.engine.distributed import World
from ppcore.errors import ConfigError


def section(config: Config, split: str) -> LoaderSection:
    """`DataLoader.Train` or `DataLoader.Eval`, required.

    Raises:
        ConfigError: the section is absent.
    """
    found = getattr(config.DataLoader, split)
    if found is None:
        raise ConfigError(f"DataLoader.{split} is missing: this command needs it")
    return found


def model(config: Config) -> nn.Layer:
    """The network of `Arch`, with `Global.pretrained` weights when they are given."""
    net = components.build(config.Arch)
    start = config.Global.pretrained
    if start is not None:
        weights.load(
            net, weight_file(start.path), source=start.source, key=start.key,
            new_head=start.new_head, pos_embed=start.pos_embed,
        )  # fmt: skip
    return net


def number_of_classes(config: Config) -> int | None:
    """`num_classes` of the network, given or by default; None for a network without classes."""
    parameters = components.parameters(components.resolve(config.Arch["name"], "Arch"))
    if "num_classes" not in parameters:
        return None
    return config.Arch.get("num_classes", parameters["num_classes"].default)


def dataset(part: LoaderSection, num_classes: int | None) -> Any:
    """The dataset of a split, its labels checked against the model's classes."""
    images = components.build(part.dataset)
    if num_classes:
        check_labels(images, num_classes)
    return images


def criterion(config: Config, precision: Any) -> Any:
    """The criterion of `Loss`.

    One with a network of its own (a teacher) has `bind(forward, mean, std)` and is told the run's
    precision and what its images are normalised with.
    """
    built = components.build(config.Loss)
    if hasattr(built, "bind"):
        steps = transforms(section(config, "Train").transforms)
        found = [step for step in steps if isinstance(step, Normalize)]
        if len(found) != 1:
            raise ConfigError("DataLoader.Train.transforms: distillation needs exactly one ppcore.data.Normalize")
        built.bind(precision.forward, found[0].mean, found[0].std)
    return built


def best_metric(config: Config) -> str:
    """The number that chooses the best checkpoint: `Global.best_metric`, else the metric's `headline`."""
    named = config.Global.best_metric
    return components.resolve(config.Metric["name"], "Metric").headline if named is None else named


def transforms(nodes: list, **provided: Any) -> list:
    """The callables of a `transforms` list."""
    return [components.build(node, **provided) for node in nodes]


def train_loader(config: Config, images: Any, world: World, start_step: int, total_steps: int, classes: int):
    """Training micro-batches from `start_step` on."""
    part = section(config, "Train")
    stream = TrainStream(
        len(images),
        part.batch_size,
        config.Global.seed,
        start_step,
        total_steps,
        world.rank,
        world.size,
        config.Optimizer.accumulate,
        part.repeats,
    )
    return TrainLoader(
        images,
        transforms(part.transforms),
        transforms(part.batch_transforms, num_classes=classes),
        config.Global.seed,
        stream,
        part.num_workers,
        part.unreadable,
    )


def eval_loader(part: LoaderSection, images: Any, world: World) -> EvalLoader:
    """Every evaluation image once over all processes."""
    stream = EvalStream(len(images), part.batch_size, world.rank, world.size)
    return EvalLoader(images, transforms(part.transforms), stream, part.num_workers, part.unreadable)


def tensors(batch: dict, keys: tuple[str, ...] = ("image", "label", "target")) -> dict[str, paddle.Tensor]:
    """The arrays of a batch that the model and the criterion use, on the device."""
    return {key: paddle.to_tensor(batch[key]) for key in keys if key in batch}
