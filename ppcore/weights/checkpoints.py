"""Checkpoints of a run: complete, checked, and never half written.

`checkpoints/step_N/` holds weights.safetensors (the network that is evaluated), networks.safetensors (the others, when
there are some), optimizer.safetensors, ema.safetensors (when there is one), state.json and manifest.json with the
sha256 of each. The folder is written beside under
another name, flushed to the disk and renamed; only then does the pointer `latest` move. A kill at
any moment leaves the last complete checkpoint in place. It is saved before it is evaluated; what the
evaluation found is added as evaluation.json: which weights, the trained ones (`model`) or their average
(`ema`), are the run's result, and the best so far. `find_weights` reads it.

Random state is not stored because there is none: every random number of a step is a function of
(seed, step) (`ppcore.engine.train`) or of (seed, epoch, index) (`ppcore.data`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ppcore.errors import CheckpointError, PPError, reason
from ppcore.io import sha256, write_atomically, write_json
from ppcore.weights.description import is_described, weight_file
from ppcore.weights.files import read, save_arrays
from ppcore.weights.training_state import EMA_FILE, MODEL, NETWORKS, OPTIMIZERS, TrainingState

FILES = (MODEL, NETWORKS, OPTIMIZERS, EMA_FILE)
WEIGHTS = {"model": MODEL, "ema": EMA_FILE}
NAMES = {"model": "trained weights", "ema": "averaged weights (EMA)"}


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        folder: the run's folder.
        keep: how many of the newest step folders to keep; the best is kept besides.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder) / "checkpoints", keep

    def save(self, step: int, training: TrainingState, state: dict[str, Any]) -> Path:
        """Writes `step_<step>`, moves the pointer `latest`, then removes what is no longer kept.

        Args:
            step: updates done.
            training: what is saved.
            state: JSON values; `weights` (`model` or `ema`) says which weights are the run's result, `best`
                is the best evaluation so far, if any: {step, weights, the metric}.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step_{step}"
        temp = self.folder / f".step_{step}.{os.getpid()}.tmp"
        if not self.is_complete(target):
            try:
                shutil.rmtree(temp, ignore_errors=True)
                temp.mkdir()
                for name, arrays in training.arrays().items():
                    save_arrays(temp / name, arrays)
                write_json(temp / "state.json", {"step": step, **state})
                write_json(temp / "manifest.json", {p.name: sha256(p) for p in sorted(temp.iterdir())})
                shutil.rmtree(target, ignore_errors=True)  # an incomplete one of the same step
                os.replace(temp, target)
            except (OSError, PPError) as error:  # a full disk: what was there stays, the rest goes
                shutil.rmtree(temp, ignore_errors=True)
                raise CheckpointError(f"{target}: cannot be written: {reason(error)}") from error
            _sync(self.folder)
        self._point("latest", target.name)
        self._remove_old(step)
        return target

    def record_evaluation(self, step: int, weights: str, best: dict[str, Any] | None) -> None:
        """Adds to a saved checkpoint what its evaluation found, and moves the pointer `best`.

        Args:
            step: the checkpoint's.
            weights: `model` or `ema`, the run's result.
            best: the best evaluation so far, with its `step`.
        """
        write_json(self.folder / f"step_{step}" / "evaluation.json", {"weights": weights, "best": best})
        self.point_to_best(best)

    def point_to_best(self, best: dict[str, Any] | None) -> None:
        """Moves the pointer `best` to where an evaluation says it is (a kill may have come between the two)."""
        if best is not None and (self.folder / f"step_{best['step']}").is_dir():
            self._point("best", f"step_{best['step']}")

    def pointed(self, pointer: str) -> Path | None:
        """The folder `latest` or `best` names, if any."""
        path = self.folder / pointer
        return self.folder / path.read_text().strip() if path.is_file() else None

    def best(self) -> Path | None:
        """The best checkpoint: as the latest one recorded, for a kill may have come before the pointer moved."""
        latest = self.pointed("latest")
        try:
            record = read_state(latest).get("best") if latest else None
        except CheckpointError:  # the pointer still knows
            record = None
        recorded = self.folder / f"step_{record['step']}" if record else None
        return recorded if recorded and recorded.is_dir() else self.pointed("best")

    def newest(self) -> Path | None:
        """The newest checkpoint whose files all match their manifest; None when there is none at all.

        Raises:
            CheckpointError: there are checkpoints, and every one of them is damaged.
        """
        steps = self._steps()
        for path in reversed(steps):
            if self.is_complete(path):
                return path
        if steps:
            raise CheckpointError(f"{self.folder}: every checkpoint is damaged; restore one or choose a new output_dir")
        return None

    @staticmethod
    def is_complete(path: Path, *files: str) -> bool:
        """Whether a checkpoint's manifest is there and every file (or those named) matches its sha256."""
        manifest = path / "manifest.json"
        if not manifest.is_file():
            return False
        try:
            sums = json.loads(manifest.read_text())
        except ValueError:
            return False
        if not isinstance(sums, dict) or WEIGHTS["model"] not in sums:
            return False
        if files:
            sums = {name: sums.get(name) for name in files}
        return all((path / name).is_file() and sha256(path / name) == digest for name, digest in sums.items())

    def _point(self, pointer: str, name: str) -> None:
        write_atomically(self.folder / pointer, lambda temp: temp.write_text(f"{name}\n"))

    def _steps(self) -> list[Path]:
        found = [p for p in self.folder.glob("step_*") if p.name.removeprefix("step_").isdigit()]
        return sorted(found, key=step_of)

    def _remove_old(self, step: int) -> None:
        """Removes all but the newest up to `step`, and the best.

        A folder of a later step is a damaged one that this run has not reached again: it is not counted, or the
        good ones before it would go.
        """
        best = self.pointed("best")
        for path in [path for path in self._steps() if step_of(path) <= step][: -self.keep]:
            if path != best:
                shutil.rmtree(path)
        for left in self.folder.glob(".step_*.tmp"):  # of a killed run
            shutil.rmtree(left, ignore_errors=True)


def step_of(path: Path) -> int:
    """The step of a `step_N` folder."""
    return int(path.name.removeprefix("step_"))


def read_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint, with what its evaluation found since (`evaluated` says whether there was one).

    Raises:
        CheckpointError: not a whole checkpoint.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        evaluation = path / "evaluation.json"
        found = json.loads(evaluation.read_text()) if evaluation.is_file() else {}
        return {**state, **found, "evaluated": bool(found)}
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: no whole checkpoint ({reason(error)})") from error


class Found(NamedTuple):
    """A weight file and why it is the one."""

    path: Path
    why: str


def find_weights(path: str | Path) -> Found:
    """The weight file meant by a file, a folder with config.json, a `step_N` folder, a run's folder, or a pointer (`RUN/checkpoints/latest`).

    Of a run it is the best checkpoint, else (nothing was evaluated) the latest; of a checkpoint the trained weights or
    their average, as its evaluation says (`EMA.headline`).

    Raises:
        CheckpointError: a folder without a checkpoint, or a damaged one.
    """
    path = Path(path)
    if path.parent.name == "checkpoints" and path.name in ("latest", "best"):
        step, which = Checkpoints(path.parents[1]).pointed(path.name), f"the run's {path.name}"
    elif not path.is_dir():
        return Found(path, "the file given")
    elif is_described(path):
        return Found(weight_file(path), "of the folder given")
    elif (path / "checkpoints").is_dir():
        folder = Checkpoints(path)
        step, which = folder.best(), "the run's best"
        if step is None:
            step, which = folder.pointed("latest"), "the run's latest, as none was evaluated"
    else:
        step, which = path, "the checkpoint given"
    if step is None or not (step / "state.json").is_file():
        raise CheckpointError(f"{path}: no checkpoint in this folder")
    state = read_state(step)
    weights, best = state.get("weights", "model"), state.get("best") or {}
    # Those two only: the optimiser's state may be gigabytes that nobody asked for.
    if weights not in WEIGHTS or not Checkpoints.is_complete(step, "state.json", WEIGHTS[weights]):
        raise CheckpointError(
            f"{step}: its {weights} weights are missing or damaged: name the folder of another checkpoint"
        )
    score = ""
    if best.get("step") == state["step"]:
        score = "".join(f", {key} {value:.4f}" for key, value in best.items() if key not in ("step", "weights"))
    return Found(step / WEIGHTS[weights], f"{which}, step {state['step']}{score}, {NAMES[weights]}")


def restore(path: Path, training: TrainingState) -> dict[str, Any]:
    """Loads a checkpoint into a training and returns its state.

    Raises:
        CheckpointError: it is another training's.
    """
    files = {name: read(path / name) for name in FILES if (path / name).is_file()}
    training.load(files, path)
    return read_state(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
