"""Swin's learning rate."""

from ppcore.config.durations import Plan
from ppcore.schedules import Schedule, TimmCosine, timm_cosine


class SwinCosine(TimmCosine):
    """Linear warm-up and cosine for each update, stepped after the update, as Swin's code has them.

    The first two updates use f(0), update k > 0 uses f(k - 1). All three rates are scaled by the batch. The code of the
    published runs (2021) has the cosine over the whole length, its beginning replaced by the warm-up; since 2022-10-05
    (`warmup_prefix`) the cosine covers what follows the warm-up.

    Args:
        **kwargs: those of `ppcore.schedules.TimmCosine` but `stepping`.
    """

    def bind(self, plan: Plan) -> Schedule:
        base, warmup = self.peak(plan), self.warmup.in_steps(plan)
        scale = base / self.base_lr if self.base_lr else 1.0
        rates = dict(base=base, warmup_lr=self.warmup_lr * scale, min_lr=self.min_lr * scale)
        total = plan.total_steps - (warmup if self.warmup_prefix else 0)
        return lambda step: timm_cosine(
            max(step - 1, 0), total=total, warmup=warmup, warmup_prefix=self.warmup_prefix, **rates
        )
