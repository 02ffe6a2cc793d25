"""Checkpoints of a run: complete, checked, and never half written.

`checkpoints/step_N/` holds weights.safetensors, optimizer.safetensors and ema.safetensors (when there
is one), state.json and manifest.json with the sha256 of each. The folder is written beside under
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

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.ema import EMA
from ppcore.errors import CheckpointError, PPError, reason
from ppcore.io import sha256, write_atomically, write_json
from ppcore.weights.files import read, save_arrays

WEIGHTS = {"model": "weights.safetensors", "ema": "ema.safetensors"}
NAMES = {"model": "trained weights", "ema": "averaged weights (EMA)"}
SEPARATOR = "|"  # between a structured name and an accumulator's, in optimizer.safetensors


def as_array(tensor: paddle.Tensor) -> np.ndarray:
    """A tensor's values on the host; half precision is widened to float32, which is exact."""
    if tensor.dtype in (paddle.float16, paddle.bfloat16):
        tensor = tensor.astype("float32")
    return tensor.numpy()


def optimizer_arrays(model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> dict[str, np.ndarray]:
    """Accumulators and master weights under structured names (`blocks.0.norm1.weight|moment1_0`).

    Paddle's own keys begin with counters such as `linear_12.w_0` that depend on what else the
    process has built.
    """
    structured = {p.name: name for name, p in model.named_parameters()}
    arrays = {}
    for key, value in optimizer.state_dict().items():
        if key == "master_weights":
            arrays.update({f"{structured[n]}{SEPARATOR}master": as_array(t) for n, t in value.items()})
        elif isinstance(value, paddle.Tensor):
            owner = _owner(key, structured)
            arrays[f"{structured[owner]}{SEPARATOR}{key[len(owner) + 1 :]}"] = as_array(value)
    return arrays


def _owner(key: str, names: dict[str, str]) -> str:
    """The parameter whose name begins an accumulator's key; the longest, as names may nest."""
    owners = [name for name in names if key.startswith(f"{name}_")]
    if not owners:
        raise CheckpointError(f"the optimiser has an accumulator '{key}' of no parameter of this model")
    return max(owners, key=len)


def restore_optimizer(model: nn.Layer, optimizer: paddle.optimizer.Optimizer, arrays: dict[str, np.ndarray]) -> None:
    """Inverse of `optimizer_arrays`.

    Raises:
        CheckpointError: the state is another model's, or of a run with half-precision weights where this one has none.
    """
    parameters = {name: p.name for name, p in model.named_parameters()}
    masters = any(key.endswith(f"{SEPARATOR}master") for key in arrays)
    if arrays and masters != any(p.dtype in (paddle.float16, paddle.bfloat16) for p in model.parameters()):
        saved, own = ("under AMP O2", "is not") if masters else ("without AMP O2", "is under it")
        raise CheckpointError(f"the checkpoint was saved {saved} and this run {own}: go on where AMP.level is the same")
    state: dict[str, Any] = {}
    for key, array in arrays.items():
        name, _, slot = key.rpartition(SEPARATOR)
        if name not in parameters:
            raise CheckpointError(f"the checkpoint's optimiser state names '{name}', which this model does not have")
        tensor = paddle.to_tensor(array)
        if slot == "master":
            # As Paddle names it: the accumulators of a half-precision weight are named after its master.
            tensor.name = f"{parameters[name]}_fp32_master_0"
            state.setdefault("master_weights", {})[parameters[name]] = tensor
        else:
            tensor.name = f"{parameters[name]}_{slot}"
            state[tensor.name] = tensor
    optimizer.set_state_dict(state)


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        folder: the run's folder.
        keep: how many of the newest step folders to keep; the best is kept besides.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder) / "checkpoints", keep

    def save(
        self,
        step: int,
        *,
        model: nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        ema: EMA | None,
        state: dict[str, Any],
    ) -> Path:
        """Writes `step_<step>`, moves the pointer `latest`, then removes what is no longer kept.

        Args:
            step: updates done.
            model, optimizer, ema: what is saved.
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
                weights = {name: as_array(t) for name, t in model.state_dict().items()}
                save_arrays(temp / WEIGHTS["model"], weights)
                if slots := optimizer_arrays(model, optimizer):  # plain SGD has none
                    save_arrays(temp / "optimizer.safetensors", slots)
                if ema is not None:
                    save_arrays(temp / WEIGHTS["ema"], {name: as_array(t) for name, t in ema.shadow.items()})
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
    """The weight file meant by a file, a `step_N` folder, a run's folder, or a pointer (`RUN/checkpoints/latest`).

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


def restore(path: Path, *, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, ema: EMA | None) -> dict[str, Any]:
    """Loads a checkpoint into a run's objects and returns its state.

    Raises:
        CheckpointError: the checkpoint has an EMA and the run has none, or the other way round.
    """
    averaged = path / "ema.safetensors"
    if (ema is not None) != averaged.is_file():
        raise CheckpointError(f"{path}: EMA is {'on' if ema else 'off'} in this run and was not in the checkpoint's")
    load_weights(model, read(path / "weights.safetensors"), path)
    slots = path / "optimizer.safetensors"
    restore_optimizer(model, optimizer, read(slots) if slots.is_file() else {})
    if ema is not None:
        ema.shadow = {name: paddle.to_tensor(array) for name, array in read(averaged).items()}
    return read_state(path)


def load_weights(model: nn.Layer, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Copies arrays into a model of exactly these names and shapes."""
    target = model.state_dict(use_hook=False)  # the weights themselves: a hook may give copies
    wrong = [n for n in {*target, *arrays} if n not in target or n not in arrays]
    wrong += [n for n in target if n in arrays and tuple(target[n].shape) != arrays[n].shape]
    if wrong:
        raise CheckpointError(f"{path}: not this model's weights; they differ in {', '.join(sorted(wrong))}")
    with paddle.no_grad():
        for name, tensor in target.items():
            tensor.set_value(paddle.to_tensor(arrays[name]).astype(tensor.dtype))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
