"""Reading a run's folder: what the engine left in `config.yaml`, `env.json` and `metrics.jsonl`."""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ppcore.engine import records
from ppcore.errors import PPError, reason
from ppcore.metrics.spec import MetricSpec


@dataclass(frozen=True)
class Run:
    """A run as recorded. Records are in the order of their steps; accuracies are 0..1, times are in seconds."""

    path: Path
    config: dict
    env: dict
    start: dict
    train: list[dict]
    evals: list[dict]
    end: dict | None
    seconds: float
    resumed: int
    metrics: list[MetricSpec]
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def seed(self) -> int | None:
        return (self.config.get("Global") or {}).get("seed")

    @property
    def builder(self) -> str:
        """The model's name without its package."""
        return str((self.config.get("Arch") or {}).get("name", "unknown")).rsplit(".", 1)[-1]

    @property
    def command(self) -> str:
        command = self.env.get("command", "")
        return command if isinstance(command, str) else shlex.join(str(part) for part in command)

    def trained_with(self, config: str) -> bool:
        """Whether this is a run of a configuration, such as `configs/quick/vit_digits.yaml`, wherever that folder is."""
        recorded = self.env.get("config") or ""
        return recorded == config or recorded.endswith(f"/{config}")

    @property
    def result(self) -> dict | None:
        """The run's result: the last evaluation, of the weights that the run says are its result.

        The best of all evaluations would be a choice made on the test images, so it is not the result.
        """
        if not self.evals:
            return None
        last = [record for record in self.evals if record["step"] == self.evals[-1]["step"]]
        return next((record for record in reversed(last) if record["headline"]), last[-1])

    @property
    def primary_metric(self) -> MetricSpec:
        """The metric the run is judged by; one that nothing is measured in for a run without evaluation."""
        return self.metrics[0] if self.metrics else MetricSpec("result", "Result", "result")

    @property
    def best(self) -> dict | None:
        """The best of all evaluations."""
        best, metric = None, self.primary_metric
        for record in self.evals:
            if best is None or metric.better(record[metric.key], best[metric.key]):
                best = record
        return best

    def written(self, record: dict | None) -> dict[str, float]:
        """An evaluation's metrics in the units they are written in, by key."""
        numbers = record or {}
        return {one.key: one.written(numbers[one.key]) for one in self.metrics if numbers.get(one.key) is not None}


def read_run(path: str | Path) -> Run:
    """Reads a run's folder.

    Raises:
        PPError: The folder or one of its files is missing or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise PPError(f"{path}: no such run folder (expected one that tools/train.py wrote)")
    config = _mapping(path / "config.yaml", yaml.safe_load)
    env = _mapping(path / "env.json", json.loads)
    log = records.read(path / records.NAME)
    run = Run(
        path=path,
        config=config,
        env=env,
        start=log.starts[-1],
        train=log.train,
        evals=log.evals,
        end=log.end,
        seconds=log.seconds,
        resumed=len(log.starts) - 1,
        metrics=log.metrics,
        notes=log.notes,
    )
    for record in run.evals:
        if record.get(run.primary_metric.key) is None:
            missing = f"the evaluation of step {record['step']} has no '{run.primary_metric.key}'"
            raise PPError(f"{path / records.NAME}: {missing}")
    return run


def _mapping(path: Path, parse) -> dict:
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PPError(f"{path.parent}: not a run folder, it has no {path.name}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PPError(f"{path}: cannot be read ({reason(error)})") from None
    if not isinstance(data, dict):
        raise PPError(f"{path}: expected a mapping")
    return data
