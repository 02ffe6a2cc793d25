"""What a number is: the key it is recorded under, its unit and decimals, and which way is better."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricSpec:
    """One number that an evaluation gives. Each metric declares its own; records and reports hand it on.

    Attributes:
        key: its name in records and configurations.
        name: in the head of a column.
        title: in a sentence and on an axis.
        unit: empty for a plain number.
        factor: from the recorded number to the written one (accuracies are recorded as 0..1).
        offset: added after that: an accuracy is written as an error in percent with -100 and 100.
        digits: decimals.
        higher_is_better: which way is better.
    """

    key: str
    name: str
    title: str
    unit: str = ""
    factor: float = 1.0
    digits: int = 4
    higher_is_better: bool = True
    offset: float = 0.0

    def better(self, value: float, other: float | None) -> bool:
        """Whether `value` is better than `other`. A number is better than none and than NaN; NaN is never better."""
        if math.isnan(value):
            return False
        if other is None or math.isnan(other):
            return True
        return value > other if self.higher_is_better else value < other

    @property
    def heading(self) -> str:
        """Name and unit, for a column."""
        return f"{self.name} {self.unit}".strip()

    @property
    def axis(self) -> str:
        """Name and unit, for an axis."""
        return f"{self.title[0].upper()}{self.title[1:]}{', ' if self.unit else ''}{self.unit}"

    def written(self, value: float) -> float:
        """A recorded number in the unit it is written in."""
        return self.factor * value + self.offset

    def recorded(self, value: float) -> float:
        """A written number as it is recorded."""
        return (value - self.offset) / self.factor


def accuracy(key: str, name: str, title: str) -> MetricSpec:
    """The spec of a share of images that is recorded as 0..1 and written in percent."""
    return MetricSpec(key, name, title, "%", factor=100.0, digits=2)
