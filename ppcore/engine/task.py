"""The seam of training: what the loop asks of a method, and what a method is given to work with.

The loop (`ppcore.engine.train`) knows a `Task` and nothing of labels, heads or losses. It keeps what all methods share:
mixed precision, accumulation, clipping, averaging over processes, checkpoints, resuming bit for bit, and stopping.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.config import Config, components, roles
from ppcore.config.durations import Plan
from ppcore.data import Normalize
from ppcore.engine import build, evaluators
from ppcore.engine.distributed import World
from ppcore.engine.evaluators import Evaluator
from ppcore.engine.precision import Precision
from ppcore.errors import ConfigError
from ppcore.optim import ScheduledOptimizer
from ppcore.schedules import Schedule

Batch = dict[str, paddle.Tensor]
Losses = Iterator[tuple[str, paddle.Tensor, Mapping[str, paddle.Tensor | float]]]
_TASK_RNG = 3  # keeps a task's random numbers apart from those of `ppcore.data`


class Task(Protocol):
    """What is trained and how. A configuration names one in `Task`; the constructor is given `run`, a `Run`.

    Attributes:
        networks: all that trains, is averaged or is remembered from step to step (student, teacher, a centre as a
            buffer, discriminator). All of it is saved and restored.
        model: the network of `Arch` among them (or `networks` itself): what is averaged by `EMA`, evaluated, exported.
    """

    networks: nn.Layer
    model: nn.Layer

    def optimizers(self) -> Mapping[str, ScheduledOptimizer]:
        """The optimizers by name; asked once. `Run.optimizer` makes them as the configuration says."""
        ...

    def losses(self, batch: Batch, step: int) -> Losses:
        """The losses of a micro-batch, one for each update of this step, in turn.

        Each is (name of an optimizer, scalar to minimise, numbers to log). The loop goes backward, updates that
        optimizer's parameters, and asks for the next: a generator sees the weights of the update before.

        Args:
            batch: every array of the loader's batch.
            step: updates done, for schedules of the task's own.
        """
        ...

    def after_update(self, step: int) -> None:
        """Called when all updates of a step are done: a moving average of the weights, a centre."""
        ...

    def evaluators(self) -> Sequence[Evaluator]:
        """What measures `model`; `Run.evaluators` are those of the configuration."""
        ...


@dataclass(frozen=True)
class Run:
    """What a task, or a criterion that asks for it, is given of the run.

    Attributes:
        config: the configuration.
        plan: length of the run.
        world: the processes.
        precision: AMP.
    """

    config: Config
    plan: Plan
    world: World
    precision: Precision

    @cached_property
    def model(self) -> nn.Layer:
        """The network of `Arch`, with the weights of `Global.pretrained` where they are given."""
        return build.model(self.config)

    def network(self, **changes: Any) -> nn.Layer:
        """Another network of `Arch`, with fresh weights.

        Args:
            changes: arguments that differ from `Arch`'s, such as `drop_path=0.0` for a teacher.

        Raises:
            ConfigError: the network has no such argument, or not of that kind.
        """
        mistakes = components.mistakes({**self.config.Arch, **changes}, "Task", roles.NETWORK)
        if mistakes:
            raise ConfigError(mistakes[0])
        return components.build({**self.config.Arch, **changes})

    def forward(self, network: Callable, *inputs: paddle.Tensor) -> Any:
        """Outputs of a network under the run's mixed precision, in float32."""
        return self.precision.forward(network, *inputs)

    def optimizer(self, network: nn.Layer, name: str = "model") -> ScheduledOptimizer:
        """An optimizer of a network's trainable parameters.

        Args:
            network: what it updates.
            name: which of the sections under `Optimizer`; a single one is `model`.

        Raises:
            ConfigError: there is no such section, or its rate is negative at some step.
        """
        sections = self.config.optimizers()
        if name not in sections:
            raise ConfigError(f"Optimizer: this task needs an optimizer '{name}', there is {', '.join(sections)}")
        section = sections[name]
        node = section.component()
        factory = components.resolve(node.pop("name"), "Optimizer")
        made = optim.make(
            network, factory, weight_decay=section.weight_decay, no_weight_decay=section.no_weight_decay,
            layer_decay=section.layer_decay, **node,
        )  # fmt: skip
        decay, factors = section.weight_decay_schedule, section.base_lr_factors
        return ScheduledOptimizer(
            made,
            [p for p in network.parameters() if not p.stop_gradient],
            build.schedule(section.lr, self.plan, "Optimizer.lr"),
            section.clip_norm,
            self.schedule(decay) if decay else None,
            [
                (parameters, self.schedule({**section.lr, "base_lr": section.lr["base_lr"] * factors[rule]}))
                for rule, parameters in optim.named_parameters(network, list(factors)).items()
            ],
        )

    def schedule(self, node: Mapping[str, Any]) -> Schedule:
        """A schedule component over this run, as a function of the step."""
        return build.schedule(node, self.plan)

    def criterion(self) -> Callable:
        """The criterion of `Loss`, which is given this run if it takes one."""
        if self.config.Loss is None:
            raise ConfigError("training needs the section Loss")
        return components.build(self.config.Loss, run=self)

    def evaluators(self) -> list[Evaluator]:
        """The evaluators of `Metric`."""
        return evaluators.of(self.config)

    def rng(self, step: int, shared: bool = False) -> np.random.Generator:
        """Random numbers of one step of this process: the same when a resumed run repeats it.

        Args:
            step: updates done.
            shared: the same in every process: those of the first.
        """
        rank = 0 if shared else self.world.rank
        return np.random.default_rng((self.config.Global.seed, step, rank, 0, _TASK_RNG))

    @property
    def normalization(self) -> tuple[list[np.float32], list[np.float32]]:
        """(mean, std) a channel that training images are normalised with.

        Raises:
            ConfigError: the training transforms have not exactly one Normalize.
        """
        steps = build.transforms(build.section(self.config, "Train").transforms)
        found = [step for step in steps if isinstance(step, Normalize)]
        if len(found) != 1:
            raise ConfigError("DataLoader.Train.transforms: distillation needs exactly one ppcore.data.Normalize")
        return found[0].mean, found[0].std


class Supervised:
    """One network, one criterion, one optimizer: what `Arch`, `Loss` and `Optimizer` say. The default task.

    Args:
        run: of the training.
    """

    def __init__(self, *, run: Run):
        self.run = run
        self.networks = self.model = run.model
        self.criterion = run.criterion()

    def optimizers(self) -> dict[str, ScheduledOptimizer]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: Batch, step: int) -> Losses:
        outputs = self.run.forward(self.model, batch["image"])
        yield "model", self.criterion(outputs, batch), {}

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Evaluator]:
        return self.run.evaluators()
