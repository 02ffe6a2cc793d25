"""metrics.jsonl: the record of a run, a JSON object a line. Its schema, its one reader, and its mending after a kill."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ppcore.errors import PPError, reason
from ppcore.io import write_atomically
from ppcore.metrics.spec import MetricSpec

NAME = "metrics.jsonl"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")
    step: int
    """Updates done."""
    time: float
    """Seconds since the epoch."""


class Start(_Record):
    """Training begins, or goes on."""

    kind: Literal["start"] = "start"
    params: int
    steps: int
    epochs: float
    batch_size: int
    train_images: int
    eval_images: int
    classes: list[str] | None = None
    protocol: str
    """How evaluation measures, in one line."""
    metric: str | None = None
    """The conventions of the metric, if it has any to name."""
    metrics: list[MetricSpec]
    """What the numbers of evaluations are, the primary one first."""


class Train(_Record):
    """Some updates of training; whatever else the task logs stands beside, as numbers."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]
    kind: Literal["train"] = "train"
    epoch: float
    loss: float
    lr: float
    grad_norm: float | None = None
    images_per_second: float | None = None
    skipped: int = 0


class Eval(_Record):
    """An evaluation; its metrics stand beside, as they are recorded (accuracies 0..1)."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]
    kind: Literal["eval"] = "eval"
    epoch: float
    weights: Literal["model", "ema"]
    headline: bool = True
    """Whether these weights are the run's result."""
    n: int
    skipped: int = 0
    seconds: float


class End(_Record):
    """Training has ended as planned."""

    kind: Literal["end"] = "end"
    seconds: float
    best: dict[str, Any] | None = None


_RECORD: TypeAdapter = TypeAdapter(Annotated[Start | Train | Eval | End, Field(discriminator="kind")])


def encode(kind: str, **values: Any) -> str:
    """A record as a line, without its end.

    Raises:
        ValidationError: it does not follow the schema: a defect of the program.
    """
    record = _RECORD.validate_python({"kind": kind, **values}).model_dump()
    return json.dumps({"kind": kind, **record})  # first: a record that follows a cut line is found by it


@dataclass(frozen=True)
class MetricsLog:
    """What a metrics.jsonl says of a run, records in the order of their steps; times are in seconds.

    Attributes:
        starts: one, and one more for each time the run went on.
        train: training's records.
        evals: the evaluations'.
        end: None for a run that has not ended.
        seconds: spent on the run, over all its starts.
        notes: what was passed over, in words.
    """

    starts: list[dict[str, Any]]
    train: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    end: dict[str, Any] | None
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> list[MetricSpec]:
        """The specs of the evaluations' numbers, the primary one first."""
        return [MetricSpec(**spec) for spec in self.starts[-1]["metrics"]]


def read(path: Path) -> MetricsLog:
    """Reads a metrics.jsonl.

    A last line cut by a kill is dropped and noted. What a killed process wrote after the step from which the run went
    on is dropped, since training did those steps again.

    Raises:
        PPError: the file is missing, damaged, or of a run that never started.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        text = f"{path.parent}: not a run folder, it has no {path.name}" if missing else f"{path}: {reason(error)}"
        raise PPError(text) from None
    notes: list[str] = []
    starts: list[dict] = []
    train: dict[int, dict] = {}
    evals: dict[tuple[int, str], dict] = {}
    end, seconds, last_time = None, 0.0, 0.0
    for record in _whole(lines, path, notes):
        if record["kind"] == "start":
            seconds += last_time - starts[-1]["time"] if starts else 0.0
            starts.append(record)
            train = {step: kept for step, kept in train.items() if step <= record["step"]}
            evals = {key: kept for key, kept in evals.items() if key[0] <= record["step"]}
            end = None
        elif not starts:
            raise PPError(f"{path}: the first record is not a 'start'")
        elif record["kind"] == "train":
            train[record["step"]] = record
        elif record["kind"] == "eval":
            evals[record["step"], record["weights"]] = record
        else:
            end = record
        last_time = record["time"]
    if not starts:
        raise PPError(f"{path}: empty, the run never started")
    return MetricsLog(
        starts=starts,
        train=[train[step] for step in sorted(train)],
        evals=sorted(evals.values(), key=lambda record: record["step"]),
        end=end,
        seconds=seconds + last_time - starts[-1]["time"],
        notes=notes,
    )


def _whole(lines: Iterable[str], path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The records; a line cut by a kill is skipped when it is the last, or when a resumed process follows it."""
    cut: int | None = None  # number of a line that is only forgiven if a "start" comes next
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        content = _parse(line)
        if content is None and (glued := line.rfind('{"kind"')) > 0:
            # The resumed process appended to the cut line itself: its own record is still whole.
            content, cut = _parse(line[glued:]), number
        if content is None:
            if cut is not None:
                raise PPError(f"{path}: line {cut} is damaged")
            cut = number
            continue
        try:
            record = _RECORD.validate_python(content).model_dump()
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) + ": " if first["loc"] else ""
            raise PPError(f"{path}: line {number}: {place}{first['msg']}") from None
        if cut is not None:
            if record["kind"] != "start":
                raise PPError(f"{path}: line {cut} is damaged")
            notes.append(f"line {cut} of {NAME} was cut when the process was killed; training resumed after it")
            cut = None
        yield record
    if cut is not None:
        if cut != number:
            raise PPError(f"{path}: line {cut} is damaged")
        notes.append(f"the last line of {NAME} is cut; the run was killed or is still being written")


def _parse(line: str | bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class Tail:
    """The records that a running training adds from now on; what the file held before is somebody's earlier start.

    Args:
        path: the file; need not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path
        self._inode, self._offset = self._stat()

    def new(self) -> list[dict[str, Any]]:
        """Whole records since the last call; a line that an earlier kill has cut is passed over."""
        inode, size = self._stat()
        if inode != self._inode or size < self._offset:  # a run that had not got far was set aside
            self._inode, self._offset = inode, 0
        if inode is None:
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")  # a line still being written waits
        self._offset += len(whole) + len(newline)
        return [content for line in whole.splitlines() if (content := _parse(line)) is not None]

    def _stat(self) -> tuple[int | None, int]:
        try:
            state = os.stat(self.path)
        except FileNotFoundError:
            return None, 0
        return state.st_ino, state.st_size


def rewind(path: Path, step: int, evaluated: bool) -> None:
    """Takes out what a run that goes on after `step` will record again, and a line that a kill has cut.

    Those are the records of later steps, of the end and, unless it was `evaluated` to its end, of the evaluation of
    `step`. The file is replaced as a whole.
    """
    if not path.is_file():
        return

    def stays(line: str) -> bool:
        record = _parse(line)
        if record is None or not isinstance(record.get("step"), int):
            return False
        again = record.get("kind") == "end" or (record.get("kind") == "eval" and record["step"] == step)
        return record["step"] <= step and not (again and not (record["kind"] == "eval" and evaluated))

    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if stays(line)]
    if len(kept) < len(lines):
        text = "".join(f"{line}\n" for line in kept)
        write_atomically(path, lambda temp: temp.write_text(text, encoding="utf-8"))
