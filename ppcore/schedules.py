"""Learning-rate schedules: pure functions of the step, double precision.

The formulas come first; the classes below them are what a configuration names. A class holds
the numbers of the YAML and `bind(plan)` returns the function `step -> learning rate`. Nothing
has state, so a resumed run needs nothing but its step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from ppcore.config.durations import Duration, Plan

Schedule = Callable[[int], float]


def vit_schedule(
    step: int,
    *,
    base: float,
    total: int,
    warmup: int,
    decay: Literal["cosine", "linear"],
    linear_end: float = 1e-5,
    cosine_end: float = 0.0,
) -> float:
    """Decay that runs after the warm-up, times a linear warm-up from 0 (ViT tables 3 and 4; vit_jax; MAE)."""
    progress = min(max((step - warmup) / max(total - warmup, 1), 0.0), 1.0)
    if decay == "cosine":
        lr = cosine_end + (base - cosine_end) * 0.5 * (1.0 + math.cos(math.pi * progress))
    elif decay == "linear":
        lr = linear_end + (base - linear_end) * (1.0 - progress)
    else:
        raise ValueError(f"decay must be 'cosine' or 'linear', not {decay!r}")
    return lr * min(1.0, step / warmup) if warmup else lr


def timm_cosine(
    t: float,
    *,
    base: float,
    total: float,
    warmup: float,
    warmup_lr: float,
    min_lr: float,
    warmup_prefix: bool = False,
) -> float:
    """Cosine over the whole length, its beginning replaced by a linear warm-up (timm; DeiT table 9).

    `t` is an epoch or an update, in the same unit as `total` and `warmup`. With `warmup_prefix`
    the cosine begins where the warm-up ends and keeps its length, so it stops above `min_lr`.
    """
    if t < warmup:
        return warmup_lr + t * (base - warmup_lr) / warmup
    if warmup_prefix:
        t -= warmup
    if t >= total:
        return min_lr
    return min_lr + 0.5 * (base - min_lr) * (1.0 + math.cos(math.pi * t / total))


def scaled_lr(base_lr: float, batch_size: int, reference_batch: int = 512) -> float:
    """Linear scaling rule: base_lr · batch / reference (DeiT §6: 5e-4 · batch / 512)."""
    return base_lr * batch_size / reference_batch


class _Scaled:
    """Holds the base rate; with `reference_batch` it scales with the run's batch."""

    def __init__(self, base_lr: float, reference_batch: int | None):
        self.base_lr, self.reference_batch = base_lr, reference_batch

    def peak(self, plan: Plan) -> float:
        if self.reference_batch is None:
            return self.base_lr
        return scaled_lr(self.base_lr, plan.batch_size, self.reference_batch)


class ViTSchedule(_Scaled):
    """`vit_schedule` in a configuration: cosine to `cosine_end` or linear to `linear_end` after a warm-up from 0.

    Args:
        base_lr: peak rate.
        warmup: length of the warm-up.
        decay: `cosine` (fine-tuning and ImageNet pre-training) or `linear` (larger pre-training sets).
        linear_end: rate at the end of a linear decay.
        cosine_end: rate at the end of a cosine.
        reference_batch: batch the base rate was given for; None: it does not scale.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        warmup: Duration,
        decay: Literal["cosine", "linear"] = "cosine",
        linear_end: float = 1e-5,
        cosine_end: float = 0.0,
        reference_batch: int | None = None,
    ):
        super().__init__(base_lr, reference_batch)
        self.warmup, self.decay = warmup, decay
        self.ends = {"linear_end": linear_end, "cosine_end": cosine_end}

    def bind(self, plan: Plan) -> Schedule:
        base, warmup = self.peak(plan), self.warmup.in_steps(plan)
        return lambda step: vit_schedule(
            step, base=base, total=plan.total_steps, warmup=warmup, decay=self.decay, **self.ends
        )


class TimmCosine(_Scaled):
    """`timm_cosine` in a configuration, stepped the way a reference steps it.

    Args:
        base_lr: peak rate (for `reference_batch` images when that is given).
        warmup: length of the warm-up.
        warmup_lr: rate at the start of the warm-up.
        min_lr: rate at the end of the cosine.
        stepping: `per_update`: update t uses f(t). `per_epoch`: all of epoch e uses f(e) (timm's
            current script). `deit_official`: the scheduler is stepped after the epoch with that
            epoch's number, so epochs 0 and 1 both use f(0) and epoch e uses f(e - 1).
        warmup_prefix: see `timm_cosine`.
        reference_batch: batch the rate was given for (DeiT: 512); None: the rate does not scale.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        warmup: Duration,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
        stepping: Literal["per_update", "per_epoch", "deit_official"] = "per_update",
        warmup_prefix: bool = False,
        reference_batch: int | None = None,
    ):
        super().__init__(base_lr, reference_batch)
        self.warmup, self.warmup_lr, self.min_lr = warmup, warmup_lr, min_lr
        self.stepping, self.warmup_prefix = stepping, warmup_prefix

    def bind(self, plan: Plan) -> Schedule:
        fixed = dict(
            base=self.peak(plan), warmup_lr=self.warmup_lr, min_lr=self.min_lr, warmup_prefix=self.warmup_prefix
        )
        warmup = self.warmup.in_steps(plan)
        if self.stepping == "per_update":
            return lambda step: timm_cosine(step, total=plan.total_steps, warmup=warmup, **fixed)
        epoch = plan.steps_per_epoch
        lengths = dict(total=plan.total_steps / epoch, warmup=warmup / epoch)
        late = 1 if self.stepping == "deit_official" else 0
        return lambda step: timm_cosine(max(step // epoch - late, 0), **lengths, **fixed)


class CosineAfterUpdate(_Scaled):
    """`timm_cosine` over the updates, stepped after the update with that update's number (Swin Transformer, LITv2).

    The first two updates use f(0), update k > 0 uses f(k - 1). With `reference_batch` all three rates scale with the batch.

    Args:
        base_lr: peak rate.
        warmup: length of the warm-up.
        warmup_lr: rate at the start of the warm-up.
        min_lr: rate at the end of the cosine.
        warmup_prefix: the cosine covers what follows the warm-up, and ends with the run. Otherwise it covers the whole
            length, its beginning replaced by the warm-up.
        reference_batch: batch the rates were given for; None: they do not scale.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        warmup: Duration,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
        warmup_prefix: bool = False,
        reference_batch: int | None = None,
    ):
        super().__init__(base_lr, reference_batch)
        self.warmup, self.warmup_lr, self.min_lr, self.warmup_prefix = warmup, warmup_lr, min_lr, warmup_prefix

    def bind(self, plan: Plan) -> Schedule:
        warmup = self.warmup.in_steps(plan)
        total = plan.total_steps - (warmup if self.warmup_prefix else 0)
        rates = {"base": self.base_lr, "warmup_lr": self.warmup_lr, "min_lr": self.min_lr}
        if self.reference_batch is not None:
            rates = {name: scaled_lr(rate, plan.batch_size, self.reference_batch) for name, rate in rates.items()}
        return lambda step: timm_cosine(
            max(step - 1, 0), total=total, warmup=warmup, warmup_prefix=self.warmup_prefix, **rates
        )


class StepDecay(_Scaled):
    """The rate times `gamma` at each milestone, after a linear warm-up from 0.

    Args:
        base_lr: first rate.
        milestones: when the rate drops.
        gamma: factor of a drop.
        warmup: length of the warm-up, none by default.
        reference_batch: batch the rate was given for; None: the rate does not scale.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        milestones: Sequence[Duration],
        gamma: float = 0.1,
        warmup: Duration | None = None,
        reference_batch: int | None = None,
    ):
        super().__init__(base_lr, reference_batch)
        self.milestones, self.gamma, self.warmup = milestones, gamma, warmup

    def bind(self, plan: Plan) -> Schedule:
        base = self.peak(plan)
        drops = sorted(milestone.in_steps(plan) for milestone in self.milestones)
        warmup = self.warmup.in_steps(plan) if self.warmup else 0

        def lr(step: int) -> float:
            rate = base * self.gamma ** sum(step >= drop for drop in drops)
            return rate * min(1.0, step / warmup) if warmup else rate

        return lr


class ExponentialDecay(_Scaled):
    """The rate times `gamma` after every `every`.

    Args:
        base_lr: first rate.
        gamma: factor of a drop.
        every: between two drops.
        reference_batch: batch the rate was given for; None: the rate does not scale.
    """

    def __init__(self, *, base_lr: float, gamma: float, every: Duration, reference_batch: int | None = None):
        super().__init__(base_lr, reference_batch)
        self.gamma, self.every = gamma, every

    def bind(self, plan: Plan) -> Schedule:
        base, every = self.peak(plan), max(self.every.in_steps(plan), 1)
        return lambda step: base * self.gamma ** (step // every)


class Constant(_Scaled):
    """One rate throughout."""

    def __init__(self, *, base_lr: float, reference_batch: int | None = None):
        super().__init__(base_lr, reference_batch)

    def bind(self, plan: Plan) -> Schedule:
        base = self.peak(plan)
        return lambda step: base
