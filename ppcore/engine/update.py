"""One step of training: the updates that a task asks for, each from one or several micro-batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from ppcore import optim
from ppcore.engine.distributed import World
from ppcore.engine.precision import Precision
from ppcore.optim import ScheduledOptimizer


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of Paddle's generator for one step of one process (dropout, stochastic depth)."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def all_finite(parameters: list) -> bool:
    """Whether every entry of every tensor is a number (a loss says nothing of the update after it)."""
    return bool(paddle.isfinite(paddle.add_n([p.astype("float32").sum() for p in parameters])))


@dataclass
class Outcome:
    """What one step gave; losses and logs are read when they are wanted, as reading waits for the device.

    Attributes:
        losses: each loss, its share of the step.
        logs: numbers of the task, each from every micro-batch.
        grad_norms: by optimizer, before clipping; of a step that asked for them.
        samples: of this process.
        images: `image` of the first micro-batch, [B, C, H, W], where there is one; of the first step.
        image_shape: its shape; of every step.
    """

    losses: list[paddle.Tensor] = field(default_factory=list)
    logs: dict[str, list[Any]] = field(default_factory=dict)
    grad_norms: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    images: paddle.Tensor | None = None
    image_shape: list[int] | None = None

    def loss(self, world: World) -> float:
        """Sum of the step's losses, the mean over processes."""
        return float(world.sum(np.array([float(sum(self.losses))]))[0] / world.size)

    def by_optimizer(self, rates: Mapping[str, float]) -> dict[str, float | None]:
        """Gradient norms; of several optimizers each one's, with its rate."""
        found: dict[str, float | None] = {"grad_norm": next(iter(self.grad_norms.values()), None)}
        if len(rates) > 1:
            found |= {f"lr_{name}": rate for name, rate in rates.items()}
            found |= {f"grad_norm_{name}": norm for name, norm in self.grad_norms.items()}
        return found

    def logged(self, world: World) -> dict[str, float]:
        """The task's numbers, the mean over micro-batches and processes."""
        if not self.logs:
            return {}
        means = [sum(map(float, values)) / len(values) for values in self.logs.values()]
        return dict(zip(self.logs, world.sum(np.array(means)) / world.size, strict=True))


def run_step(
    task: Any,
    optimizers: Mapping[str, ScheduledOptimizer],
    batches: Iterator[Mapping[str, paddle.Tensor]],
    step: int,
    *,
    accumulate: int,
    world: World,
    precision: Precision,
    report: bool,
) -> Outcome:
    """Does the updates of one step.

    Args:
        task: gives the losses.
        optimizers: its optimizers.
        batches: micro-batches, `accumulate` of which are taken.
        step: updates done.
        accumulate: micro-batches of an update; gradients are averaged over processes with the last.
        world: the processes.
        precision: AMP.
        report: whether gradient norms are wanted.
    """
    outcome, turns = Outcome(), []
    while True:
        name = None
        for part in range(accumulate):
            if part == len(turns):
                batch = next(batches)
                outcome.samples += next(iter(batch.values())).shape[0]
                if part == 0 and "image" in batch:
                    outcome.image_shape = batch["image"].shape
                    outcome.images = batch["image"] if step == 0 else None
                turns.append(iter(task.losses(batch, step)))
            asked = next(turns[part], None)
            if asked is None:
                continue
            name, loss, logs = asked
            loss = loss / accumulate
            precision.scaler.scale(loss).backward()
            outcome.losses.append(loss.detach())
            for key, value in logs.items():
                outcome.logs.setdefault(key, []).append(value)
        if name is None:
            break
        norm = _update(optimizers[name], step, world, precision, report)
        if report:
            outcome.grad_norms[name] = norm
    task.after_update(step)
    return outcome


def _update(optimizer: ScheduledOptimizer, step: int, world: World, precision: Precision, report: bool) -> float | None:
    """One optimiser update; returns the gradient norm before clipping when it is to be reported."""
    norm = None
    world.average_gradients(optimizer.parameters)
    precision.scaler.unscale_(optimizer.paddle)
    if optimizer.clip_norm is not None or report:
        norm = optim.clip_grad_norm(optimizer.parameters, optimizer.clip_norm)
    if optimizer.before_update is not None:
        optimizer.before_update(step)
    precision.scaler.step(optimizer.paddle)
    precision.scaler.update()
    optimizer.paddle.clear_grad()
    return float(norm) if report else None
