"""Lengths of time that may be given in epochs, steps or examples."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, model_validator


@dataclass(frozen=True)
class Plan:
    """The length of a run.

    Attributes:
        steps_per_epoch: optimiser updates an epoch.
        batch_size: images an update, over all processes and accumulation steps.
        total_steps: optimiser updates of the run.
    """

    steps_per_epoch: int
    batch_size: int
    total_steps: int = 0

    def epoch_of(self, step: int) -> float:
        """Epochs done after `step` updates."""
        return step / self.steps_per_epoch


class Duration(BaseModel):
    """Exactly one of `epochs`, `steps`, `examples`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    epochs: float | None = None
    steps: int | None = None
    examples: int | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Duration":
        given = [value for value in (self.epochs, self.steps, self.examples) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of epochs, steps, examples")
        if given[0] < 0:
            raise ValueError("a duration cannot be negative")
        return self

    def in_steps(self, plan: Plan) -> int:
        """Optimiser updates, rounded to the nearest."""
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return round(self.epochs * plan.steps_per_epoch)
        return round(self.examples / plan.batch_size)
