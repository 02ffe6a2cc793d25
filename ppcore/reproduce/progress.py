"""Following a training from outside, by the metrics.jsonl that grows in its folder."""

from pathlib import Path
from typing import Any

from ppcore.engine import records
from ppcore.engine.logger import clock


class Progress:
    """What a run writes from now on; what its folder held before is somebody's earlier start.

    Args:
        folder: the run's folder; need not exist yet.
    """

    def __init__(self, folder: Path):
        self._tail = records.Tail(folder / records.NAME)
        self._start: dict[str, Any] | None = None
        self._train: dict[str, Any] | None = None
        self._evals: dict[str, dict[str, Any]] = {}

    def read(self) -> str:
        """Reads what is new and returns where the training is, in one line."""
        self._update()
        if self._start is None:
            return "starting"
        total = self._start["steps"]
        if self._train is None:
            return f"step {self._start['step']}/{total}"
        step, rate = self._train["step"], self._train.get("images_per_second")
        words = [f"step {step:{len(str(total))}}/{total}", f"loss {self._train['loss']:.4f}"]
        if rate:
            words.append(f"{rate:.{0 if rate >= 10 else 1}f} images/s")
        if step < total:
            seconds = (self._train["time"] - self._start["time"]) / max(step - self._start["step"], 1)
            words.append(f"eta {clock(max((total - step) * seconds, 1.0))}")
        return "  ".join(words)

    def result(self) -> str:
        """Returns `, top1 0.9611` of the last evaluation (of the weights that are the run's result), or nothing.

        The metric is the run's primary one.
        """
        self._update()
        result = next((record for record in reversed(self._evals.values()) if record.get("headline", True)), {})
        metrics = self._start["metrics"] if self._start else []
        value = result.get(metrics[0]["key"]) if metrics else None
        return "" if value is None else f", {metrics[0]['key']} {value:.4f}"

    def _update(self) -> None:
        for record in self._tail.new():
            if record["kind"] == "start":
                self._start, self._train = record, None
            elif record["kind"] == "train":
                self._train = record
            elif record["kind"] == "eval":
                self._evals[record["weights"]] = record
