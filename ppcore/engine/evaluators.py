"""What measures a model: evaluators, and what they are given. A metric of the configuration is one over `DataLoader.Eval`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import paddle
from paddle import nn

from ppcore.config import Config, LoaderSection, components, roles
from ppcore.engine import build
from ppcore.engine.distributed import World
from ppcore.engine.input_check import check_input
from ppcore.engine.logger import clock, log
from ppcore.engine.pace import Pace
from ppcore.engine.precision import Precision
from ppcore.errors import ConfigError, nearest
from ppcore.metrics.spec import MetricSpec


class Interrupted(Exception):
    """An evaluation was stopped; it has no result."""


@runtime_checkable
class KeepsEach(Protocol):
    """A metric that keeps the numbers of single images: `{"index", …}` each."""

    per_image: list[dict[str, float]]


@dataclass
class Evaluation:
    """What an evaluator is given to measure a model with.

    Attributes:
        config: the configuration.
        world: the processes.
        precision: AMP.
        images: the data set of `DataLoader.Eval`, or None.
        compute: what computes the model's outputs [B, K] of images [B, C, H, W] in its place, or None.
        title: what to call the evaluation in the log.
        stop: asked after every batch; once it says so, evaluation ends.
        facts: numbers that are recorded beside the metrics, such as `n` images.
        seen: images that went through `batches` in this process.
        skipped: images that could not be read, in this process.
        each: the numbers of single images by their `index`, in this process, of the metrics that keep them.
    """

    config: Config
    world: World
    precision: Precision
    images: Any = None
    compute: Callable[[np.ndarray], np.ndarray] | None = None
    title: str = "evaluate"
    stop: Callable[[], bool] = lambda: False
    facts: dict[str, float] = field(default_factory=dict)
    seen: int = 0
    skipped: int = 0
    each: dict[int, dict[str, float]] = field(default_factory=dict)

    def batches(self, part: LoaderSection, images: Any) -> Iterator[dict[str, np.ndarray]]:
        """This process's share of a data set, every image once over all processes.

        The log says where it is after 2 s, and then every 5 s.

        Args:
            part: whose transforms, batch size and workers.
            images: the data set; `load(index)`.

        Raises:
            Interrupted: `stop` said so.
        """
        loader = build.eval_loader(part, images, self.world, ahead=self.compute is not None)
        pace = Pace(0, len(loader))
        for batch in loader:
            yield batch
            samples = len(next(iter(batch.values())))
            self.seen += samples
            pace.add(samples * self.world.size)
            if pace.left is not None and pace.due() and self.world.is_main:
                eta = clock(math.ceil(pace.left))
                log.info("%s: batch %d/%d %.1f images/s eta %s", self.title, pace.step, pace.total, pace.rate, eta)
            if self.stop():
                raise Interrupted
        self.skipped += loader.skipped

    def outputs(self, model: nn.Layer, images: np.ndarray) -> Any:
        """The model's outputs on a batch [B, C, H, W], in float32, by what computes in its place where there is one."""
        return self.forward(model, images) if self.compute is None else paddle.to_tensor(self.compute(images))

    def forward(self, network: Callable, images: np.ndarray) -> Any:
        """Outputs of a network on a batch [B, C, H, W], in float32."""
        return self.precision.forward(network, paddle.to_tensor(images))

    def keep_each(self, metrics: Sequence[Any]) -> None:
        """Keeps the numbers of single images, of the metrics that have some (`per_image`)."""
        kept = [metric for metric in metrics if isinstance(metric, KeepsEach)]
        for image in (image for metric in kept for image in metric.per_image):
            self.each.setdefault(image["index"], {}).update(image)


class Evaluator(Protocol):
    """Measures a model. A configuration names one in `Metric`, beside metrics or instead of them.

    Attributes:
        specs: of the numbers it gives, its primary one first.
    """

    specs: Sequence[MetricSpec]

    def evaluate(self, model: nn.Layer, run: Evaluation) -> Iterator[tuple[MetricSpec, float]]:
        """Yields each number with its spec; the model is in evaluation mode, and nothing has a gradient."""
        ...


class OverSplit:
    """Metrics over `DataLoader.Eval`: every image once, the same numbers whatever the batch size or process count.

    The network computes once, however many metrics look at its outputs.

    Args:
        nodes: the metrics' components, the primary one first; fresh ones are built for each evaluation.
        part: the split.
    """

    def __init__(self, nodes: Sequence[Mapping[str, Any]], part: LoaderSection):
        self.nodes, self.part = nodes, part
        self.specs = [spec for node in nodes for spec in _primary_first(components.build(node))]

    def evaluate(self, model: nn.Layer, run: Evaluation) -> Iterator[tuple[MetricSpec, float]]:
        metrics = [components.build(node) for node in self.nodes]
        for batch in run.batches(self.part, run.images):
            check_input(model, batch["image"], "Eval")
            outputs = run.outputs(model, batch["image"])
            for metric in metrics:
                metric.update(outputs, batch)
        numbers = {}
        for metric in metrics:
            metric.sums = run.world.sum(metric.sums)
            numbers |= metric.compute()
        for spec in self.specs:
            yield spec, numbers.pop(spec.key)
        run.facts = {**numbers, **run.facts}
        run.keep_each(metrics)


def _primary_first(metric: Any) -> list[MetricSpec]:
    known = {spec.key: spec for spec in metric.specs}
    primary = known.pop(metric.primary_metric, None)
    return [*([primary] if primary else []), *known.values()]


def of(config: Config) -> list[Evaluator]:
    """The evaluators of `Metric`; metrics are left out where there is no `DataLoader.Eval`."""
    part, nodes = config.DataLoader.Eval, config.metrics()
    summed = [node for node in nodes if is_metric(node)]
    found: list[Evaluator] = []
    for node in nodes:
        if not is_metric(node):
            found.append(components.build(node))
        elif part and node is summed[0]:
            found.append(OverSplit(summed, part))
    return found


def is_metric(node: Mapping[str, Any]) -> bool:
    """Whether a component of `Metric` adds up over `DataLoader.Eval`, and is no evaluator of its own."""
    return roles.adds_up(components.resolve(node["name"], "Metric"))


def specs_of(evaluators: Sequence[Evaluator], best_metric: str | None) -> list[MetricSpec]:
    """What their numbers are, first the one that chooses the best checkpoint: `Global.best_metric`, else the first.

    Raises:
        ConfigError: none gives a number of that name, or two give one of the same name.
    """
    specs = [spec for evaluator in evaluators for spec in evaluator.specs]
    known = {spec.key: spec for spec in specs}
    if len(known) < len(specs):
        raise ConfigError(f"Metric: several give a number of one name: {', '.join(spec.key for spec in specs)}")
    if best_metric is None:
        return specs
    if best_metric not in known:
        raise ConfigError(f"Global.best_metric: the evaluation gives no '{best_metric}'{nearest(best_metric, known)}")
    return [known.pop(best_metric), *known.values()]


def metric_specs(config: Config) -> list[MetricSpec]:
    """`specs_of` the evaluators that a configuration names."""
    return specs_of(of(config), config.Global.best_metric)
