"""Schedules of the self-supervised and semi-supervised methods: rates, decay, momenta, weights of a loss."""

import math
from typing import Literal

from ppcore.config.durations import Duration, Plan
from ppcore.errors import ConfigError
from ppcore.schedules import Schedule, scaled_lr, vit_schedule


class LinspaceCosine:
    """DINO's schedule of everything: a warm-up from 0 whose last step is at the peak, then half a cosine.

    The peak is used twice, by the last step of the warm-up and the first of the cosine, which never reaches `final`.

    Args:
        base_lr: where the cosine begins: a rate, a weight decay or a momentum.
        final: where it would end.
        warmup: length of the warm-up; None: there is none.
        reference_batch: batch that `base_lr` was given for (256); None: it does not scale.
    """

    def __init__(
        self, *, base_lr: float, final: float, warmup: Duration | None = None, reference_batch: int | None = None
    ):
        self.base_lr, self.final, self.warmup, self.reference_batch = base_lr, final, warmup, reference_batch

    def bind(self, plan: Plan) -> Schedule:
        base, final = self.base_lr, self.final
        if self.reference_batch is not None:
            base = scaled_lr(base, plan.batch_size, self.reference_batch)
        warmup = self.warmup.in_steps(plan) if self.warmup else 0
        length = max(plan.total_steps - warmup, 1)

        def value(step: int) -> float:
            if step < warmup:
                return base * step / (warmup - 1) if warmup > 1 else 0.0
            return final + 0.5 * (base - final) * (1 + math.cos(math.pi * (step - warmup) / length))

        return value


class SimCLRSchedule:
    """SimCLR's rate: linear from 0, then half a cosine to 0 at the end of the run.

    Args:
        base_lr: with scaling `linear`, of 256 images (0.3); with `sqrt`, of one image (0.075).
        warmup: length of the warm-up.
        scaling: how the rate follows the batch: base_lr · batch / 256, or base_lr · √batch.
    """

    def __init__(self, *, base_lr: float, warmup: Duration, scaling: Literal["linear", "sqrt"] = "linear"):
        if scaling not in ("linear", "sqrt"):
            raise ConfigError(f"ppssl.SimCLRSchedule: scaling is {scaling!r}, but must be 'linear' or 'sqrt'")
        self.base_lr, self.warmup, self.scaling = base_lr, warmup, scaling

    def bind(self, plan: Plan) -> Schedule:
        linear = self.scaling == "linear"
        peak = scaled_lr(self.base_lr, plan.batch_size, 256) if linear else self.base_lr * math.sqrt(plan.batch_size)
        warmup = self.warmup.in_steps(plan)
        return lambda step: vit_schedule(step, base=peak, total=plan.total_steps, warmup=warmup, decay="cosine")


class SevenSixteenths:
    """FixMatch's rate: base_lr · cos(7π·k / 16K) at step k of K, which ends at a fifth of the peak.

    Args:
        base_lr: first rate.
        warmup: length of a linear warm-up from 0 before it (USB's with ViTs), after which k and K are counted; None: there is none.
    """

    def __init__(self, *, base_lr: float, warmup: Duration | None = None):
        self.base_lr, self.warmup = base_lr, warmup

    def bind(self, plan: Plan) -> Schedule:
        warmup = self.warmup.in_steps(plan) if self.warmup else 0
        length = max(plan.total_steps - warmup, 1)

        def rate(step: int) -> float:
            if step < warmup:
                return self.base_lr * step / warmup
            return self.base_lr * math.cos(7 * math.pi * (step - warmup) / (16 * length))

        return rate


class Ramp:
    """0 before `start`, then in a line to `peak` at `end`: Lee's α(t), or the weight of an unlabelled loss.

    Args:
        peak: value from `end` on.
        end: when it is reached.
        start: until when it is 0; None: from the beginning on.
    """

    def __init__(self, *, peak: float = 1.0, end: Duration, start: Duration | None = None):
        self.peak, self.start, self.end = peak, start, end

    def bind(self, plan: Plan) -> Schedule:
        start, end = self.start.in_steps(plan) if self.start else 0, self.end.in_steps(plan)
        if end < start:
            raise ConfigError(f"ppssl.Ramp: end, step {end}, is before start, step {start}")
        return lambda step: self.peak if step >= end else self.peak * max(step - start, 0) / (end - start)
