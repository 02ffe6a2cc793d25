"""Reading a run's folder: what the engine left in `config.yaml`, `env.json` and `metrics.jsonl`."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ppcore import units
from ppcore.errors import PPError


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

    @property
    def result(self) -> dict | None:
        """The evaluation the report headlines: the last one, of the weights that the run says are its result.

        The best of all evaluations would be a choice made on the test images, so it is not the headline.
        """
        if not self.evals:
            return None
        last = [record for record in self.evals if record["step"] == self.evals[-1]["step"]]
        return next((record for record in reversed(last) if record.get("headline", True)), last[-1])

    @property
    def metrics(self) -> list[units.Unit]:
        """The metrics of the evaluations, the headline first."""
        return units.present(self.evals)

    @property
    def headline(self) -> units.Unit:
        """The metric the run is judged by; top-1 for a run that was not evaluated."""
        return next(iter(self.metrics), units.of("top1"))

    @property
    def best(self) -> dict | None:
        sign = 1 if self.headline.higher else -1
        return max(self.evals, key=lambda record: sign * record[self.headline.key], default=None)


_REQUIRED = {
    "start": ("step", "time", "params", "steps"),
    "train": ("step", "time", "loss", "lr"),
    "eval": ("step", "time", "weights", "n"),
    "end": ("step", "time"),
}


def read_run(path: str | Path) -> Run:
    """Reads a run's folder.

    A last line cut by a kill is dropped and noted. A resumed run has several "start" records: what the killed process
    wrote after the resumed step is dropped, since training did those steps again.

    Raises:
        PPError: The folder or one of its files is missing or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise PPError(f"{path}: no such run folder (expected one that tools/train.py wrote)")
    config = _mapping(path / "config.yaml", yaml.safe_load)
    env = _mapping(path / "env.json", json.loads)
    notes: list[str] = []
    starts: list[dict] = []
    train: dict[int, dict] = {}
    evals: dict[tuple[int, str], dict] = {}
    end, seconds, last_time = None, 0.0, 0.0
    for record in _records(path / "metrics.jsonl", notes):
        if record["kind"] == "start":
            seconds += last_time - starts[-1]["time"] if starts else 0.0
            starts.append(record)
            train = {step: kept for step, kept in train.items() if step <= record["step"]}
            evals = {key: kept for key, kept in evals.items() if key[0] <= record["step"]}
            end = None
        elif not starts:
            raise PPError(f"{path / 'metrics.jsonl'}: the first record is not a 'start'")
        elif record["kind"] == "train":
            train[record["step"]] = record
        elif record["kind"] == "eval":
            evals[record["step"], record["weights"]] = record
        else:
            end = record
        last_time = record["time"]
    if not starts:
        raise PPError(f"{path / 'metrics.jsonl'}: empty, the run never started")
    return Run(
        path=path,
        config=config,
        env=env,
        start=starts[-1],
        train=[train[step] for step in sorted(train)],
        evals=sorted(evals.values(), key=lambda record: record["step"]),
        end=end,
        seconds=seconds + last_time - starts[-1]["time"],
        resumed=len(starts) - 1,
        notes=notes,
    )


def _mapping(path: Path, parse) -> dict:
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PPError(f"{path.parent}: not a run folder, it has no {path.name}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PPError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise PPError(f"{path}: expected a mapping")
    return data


def _records(path: Path, notes: list[str]) -> Iterator[dict]:
    """Yields the records; a line cut by a kill is skipped when it is the last, or when a resumed process follows it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise PPError(f"{path.parent}: not a run folder, it has no {path.name}") from None
    except OSError as error:
        raise PPError(f"{path}: cannot be read ({error.strerror})") from None
    pending: int | None = None  # number of a cut line that is only forgiven if a "start" comes next
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parse(line)
        if record is None and (glued := line.rfind('{"kind"')) > 0:
            # The resumed process appended to the cut line itself: its own record is still whole.
            record, pending = _parse(line[glued:]), number
        if record is None:
            if pending is not None:
                raise PPError(f"{path}: line {pending} is damaged")
            pending = number
            continue
        kind = record.get("kind")
        if kind not in tuple(_REQUIRED):
            raise PPError(f"{path}: line {number}: a record of unknown kind {kind!r} (expected {', '.join(_REQUIRED)})")
        if pending is not None:
            if kind != "start":
                raise PPError(f"{path}: line {pending} is damaged")
            notes.append(
                f"line {pending} of metrics.jsonl was cut when the process was killed; training resumed after it"
            )
            pending = None
        missing = [key for key in _REQUIRED[kind] if key not in record]
        if kind == "eval" and not units.present([record]):
            missing.append("a metric")
        if missing:
            raise PPError(f"{path}: line {number}: a '{kind}' record without {', '.join(missing)}")
        yield record
    if pending is not None:
        if pending != len(lines):
            raise PPError(f"{path}: line {pending} is damaged")
        notes.append("the last line of metrics.jsonl is cut; the run was killed or is still being written")


def _parse(line: str) -> dict | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
