"""From a checked configuration to the objects of a run."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import Config, LoaderSection, components, roles, signatures
from ppcore.config.durations import Duration, Plan
from ppcore.data import (
    EvalBatchSampler,
    EvalLoader,
    SideBySide,
    TrainBatchSampler,
    TrainLoader,
    check_labels,
    match_classes,
)
from ppcore.engine.distributed import World
from ppcore.engine.logger import log
from ppcore.errors import ConfigError
from ppcore.model import traits
from ppcore.schedules import Schedule
from ppcore.weights.pretrained import load_pretrained


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
    if config.Global.pretrained is not None:
        path, why, _ = load_pretrained(net, config.Global.pretrained)
        log.info("starting from %s (%s)", path, why)
    return net


def plan(config: Config, images: int, length: Duration) -> Plan:
    """How long a run is, in steps.

    Args:
        config: of the run.
        images: in the training set.
        length: how long it lasts.

    Raises:
        ConfigError: no step at all.
    """
    batch_size = section(config, "Train").batch_size
    steps_per_epoch = max(images // batch_size, 1)
    steps = length.in_steps(Plan(steps_per_epoch, batch_size))
    if steps < 1:
        raise ConfigError("Global.duration is shorter than one step")
    return Plan(steps_per_epoch, batch_size, steps)


def schedule(node: Mapping[str, Any], plan: Plan, where: str | None = None) -> Schedule:
    """A schedule component over a run, as a function of the step.

    Args:
        node: the component.
        plan: length of the run.
        where: key path of the component, for messages.

    Raises:
        ConfigError: a value is negative, or not a number.
    """
    built = components.build(node)
    values = built.bind(plan)
    wrong = next((step for step in range(plan.total_steps) if not 0 <= values(step) < math.inf), None)
    if wrong is not None:
        raise ConfigError(
            f"{where or node['name']}: the rate of step {wrong} is {values(wrong):.4g}: it must not be negative"
        )
    return values


def schedules(config: Config, plan: Plan) -> Callable[[int], tuple[float, ...]]:
    """All that the configuration schedules, as one function of the step: rates, weight decay, a task's own."""
    bound = [schedule(node, plan) for node in _scheduled(config.tree)]
    return lambda step: tuple(values(step) for values in bound)


def _scheduled(node: Any) -> Iterator[Mapping[str, Any]]:
    """The schedule components anywhere in a configuration, in its order."""
    if isinstance(node, Mapping):
        if components.plays(node, roles.SCHEDULE):
            yield node
        else:
            for item in node.values():
                yield from _scheduled(item)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _scheduled(item)


def warn_of_long_warmup(config: Config, plan: Plan) -> None:
    """Says of a rate whose warm-up is as long as the run that its peak is never reached."""
    for section in config.optimizers().values():
        warmup = section.lr.get("warmup")
        steps = Duration.model_validate(dict(warmup)).in_steps(plan) if isinstance(warmup, Mapping) else 0
        if steps >= plan.total_steps > 1:
            log.warning(
                "Optimizer.lr: the warm-up of %d steps is as long as the run of %d: the full rate is never reached",
                steps, plan.total_steps,
            )  # fmt: skip


def number_of_classes(config: Config) -> int | None:
    """`num_classes` of the network, given or by default; None for a network without classes."""
    parameters = signatures.parameters(components.resolve(config.Arch["name"], "Arch"))
    if "num_classes" not in parameters:
        return None
    return config.Arch.get("num_classes", parameters["num_classes"].default)


def has_no_classes(model: nn.Layer, config: Config) -> bool:
    """Whether a network says, or its builder does where it does not, that it has 0 classes: its outputs are features."""
    classes = traits(model).num_classes
    return (number_of_classes(config) if classes is None else classes) == 0 and not traits(model).makes_images


def dataset(part: LoaderSection, num_classes: int | None, names: list[str] | None = None, where: str = "") -> Any:
    """The dataset of a split, its labels checked against the model's classes.

    Args:
        part: the split's section.
        num_classes: outputs of the model; None for a model without classes.
        names: the classes the model was trained on, if known; the dataset's own are matched to them by name.
        where: what to call the split in messages.
    """
    images = match_classes(components.build(part.dataset), names, where)
    if num_classes:
        check_labels(images, num_classes)
        known = images.num_classes if names is None else len(names)
        if known and known < num_classes:
            log.warning(
                "%s: the model has %d outputs and the data %d classes: right for a part of a larger data set whose "
                "labels it keeps, else set Arch.num_classes=%d", where, num_classes, known, known,
            )  # fmt: skip
    return images


def transforms(steps: Mapping[str, dict], **provided: Any) -> list:
    """The callables of the named steps of `transforms`, in order."""
    return [components.build(node, **provided) for node in steps.values()]


def beside(config: Config, images: Any, classes: int | None) -> dict[str, Any]:
    """The datasets of `DataLoader.Beside` by name, their classes matched to those of the training set."""
    parts = config.DataLoader.Beside.items()
    return {name: dataset(part, classes, images.classes, f"DataLoader.Beside.{name}") for name, part in parts}


def train_loader(
    config: Config,
    images: Any,
    beside: Mapping[str, Any],
    world: World,
    start_step: int,
    total_steps: int,
    classes: int | None,
) -> TrainLoader | SideBySide:
    """Training micro-batches from `start_step` on; with `DataLoader.Beside`, each with a batch of every set of that beside."""

    def loader(part: LoaderSection, images: Any, seed: int) -> TrainLoader:
        stream = TrainBatchSampler(
            len(images), part.batch_size, seed, start_step, total_steps, world.rank, world.size, config.accumulate,
            part.repeats,
        )  # fmt: skip
        batch_transforms = transforms(part.batch_transforms, num_classes=classes)
        return TrainLoader(
            images, transforms(part.transforms), batch_transforms, seed, stream, part.num_workers, part.unreadable
        )

    main, others = loader(section(config, "Train"), images, config.Global.seed), {}
    for number, (name, part) in enumerate(config.DataLoader.Beside.items()):
        # Another seed: an image that is in both sets has other draws in each.
        seed = int(np.random.SeedSequence((config.Global.seed, number + 1)).generate_state(1)[0])
        others[name] = loader(part, beside[name], seed)
    return SideBySide(main, others) if others else main


def eval_loader(part: LoaderSection, images: Any, world: World, ahead: bool = False) -> EvalLoader:
    """Every evaluation image once over all processes; `ahead`: in a thread where there are no workers."""
    stream = EvalBatchSampler(len(images), part.batch_size, world.rank, world.size)
    return EvalLoader(
        images, transforms(part.transforms), stream, part.num_workers, part.unreadable, threads=int(ahead)
    )


def tensors(batch: Mapping[str, np.ndarray]) -> dict[str, paddle.Tensor]:
    """The arrays of a batch on the device."""
    return {key: paddle.to_tensor(array) for key, array in batch.items()}
