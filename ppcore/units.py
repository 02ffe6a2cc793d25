"""The metrics a report writes: their names, units and decimals, and which way is better."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How a metric is written.

    Attributes:
        key: its name in records and configurations.
        name: in the head of a column.
        long: in a sentence and on an axis.
        sign: its unit; empty for a plain number.
        factor: from the recorded number to the written one (accuracies are recorded as 0..1).
        digits: decimals.
        higher: whether more is better.
    """

    key: str
    name: str
    long: str
    sign: str
    factor: float = 1.0
    digits: int = 2
    higher: bool = True

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is better than `other`."""
        return value > other if self.higher else value < other

    @property
    def heading(self) -> str:
        """Name and unit, for a column."""
        return f"{self.name} {self.sign}".strip()

    @property
    def axis(self) -> str:
        """Name and unit, for an axis."""
        return f"{self.long[0].upper()}{self.long[1:]}{', ' if self.sign else ''}{self.sign}"

    def written(self, value: float) -> float:
        """A recorded number in the unit it is written in."""
        return self.factor * value


_KNOWN = {
    unit.key: unit
    for unit in (
        Unit("top1", "Top-1", "top-1 accuracy", "%", factor=100.0),
        Unit("top5", "Top-5", "top-5 accuracy", "%", factor=100.0),
        Unit("psnr", "PSNR", "PSNR", "dB"),
        Unit("ssim", "SSIM", "SSIM", "", digits=4),
        Unit("lpips", "LPIPS", "LPIPS", "", digits=4, higher=False),
    )
}


def of(key: str) -> Unit:
    """The unit of a metric; one that is not in the table is written as it is, with four decimals."""
    return _KNOWN.get(key, Unit(key, key, key, "", digits=4, higher=key != "loss"))


def present(records: Iterable[dict]) -> list[Unit]:
    """The units of the metrics of the table that some record has, in the table's order."""
    found = {key for record in records for key in record if record[key] is not None}
    return [unit for key, unit in _KNOWN.items() if key in found]
