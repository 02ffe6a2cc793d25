"""The folder of a run: what it was configured to be, and whether a run may continue in it."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import yaml

from ppcore import components
from ppcore.config import Config
from ppcore.errors import CheckpointError, ConfigError

# Keys that may differ between a checkpoint and the run that resumes it: they change what is
# written, shown or loaded how fast, not what is computed.
FREE = {
    "Global": {"output_dir", "device", "save_every", "log_every", "keep_checkpoints", "resume", "visualdl",
               "visualdl_graph", "eval_every", "best_metric"},
    "DataLoader.Train": {"num_workers"},
    "DataLoader.Eval": {"num_workers", "batch_size"},
    "Loss.teacher": {"cache"},
}  # fmt: skip
IGNORED_SECTIONS = {"Infer", "Export", "Beside"}


def essentials(tree: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that decides what training computes, as flat key paths."""
    flat: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key not in FREE.get(path, ()):
                    walk(value, f"{path}.{key}" if path else key)
        else:
            flat[path] = node

    walk({key: value for key, value in tree.items() if key not in IGNORED_SECTIONS}, "")
    return flat


_locks: dict[Path, int] = {}


def lock(folder: Path) -> None:
    """Keeps other processes from training in `folder` until `unlock`, or until this process ends, however it ends.

    Raises:
        ConfigError: another process trains there.
    """
    if folder in _locks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EACCES, errno.EAGAIN):  # a file system without locks
            raise ConfigError(
                f"{folder}: cannot be locked ({error.strerror}): choose a local Global.output_dir"
            ) from error
        raise ConfigError(
            f"{folder}: another process is training there: wait for it, or choose another Global.output_dir"
        ) from error
    _locks[folder] = descriptor


def unlock(folder: Path) -> None:
    """Lets other processes train in `folder` again."""
    os.close(_locks.pop(folder))


def claim(folder: Path, config: Config) -> None:
    """Checks that this configuration may run in `folder`.

    A run that ended before its first checkpoint does not hold the folder; its log of metrics is
    set aside as metrics.abandoned.jsonl.

    Raises:
        ConfigError: the folder holds a run and `Global.resume` is `never`.
        CheckpointError: it holds a run of another configuration; the message names what differs.
    """
    saved, metrics = folder / "config.yaml", folder / "metrics.jsonl"
    if not any((folder / "checkpoints").glob("step_*")):
        if metrics.is_file():
            metrics.replace(folder / "metrics.abandoned.jsonl")
        return
    if not saved.is_file():
        raise CheckpointError(f"{folder} has checkpoints but no config.yaml: choose another Global.output_dir")
    if config.Global.resume == "never":
        raise ConfigError(f"{folder} already holds a run: choose another Global.output_dir, or Global.resume=auto")
    old, new = essentials(yaml.safe_load(saved.read_text(encoding="utf-8"))), essentials(config.tree)
    different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if different:
        first = different[0]
        raise CheckpointError(
            f"{folder} holds a run with another configuration: {first} was {old.get(first)!r} and is now "
            f"{new.get(first)!r}"
            + (f" (and {len(different) - 1} more)" if len(different) > 1 else "")
            + "; choose another Global.output_dir"
        )


def protocol(config: Config) -> str:
    """How evaluation is measured, in one line: dataset, preprocessing, metric, precision.

    A metric that has conventions to name says them itself (`describe`).
    """
    part = config.DataLoader.Eval
    if part is None:
        return "no evaluation data"

    steps = " -> ".join(node_text(node) for node in part.transforms)
    measured = described(config) or node_text(config.Metric)
    precision = "float32" if config.AMP.level != "O1" else f"{config.AMP.dtype} autocast"
    return f"{node_text(part.dataset)} -> {steps}; {measured}; {precision}; unreadable images: {part.unreadable}"


def described(config: Config) -> str | None:
    """What the metric says of its conventions, if it has any to name."""
    metric = components.build(config.Metric)
    return metric.describe() if hasattr(metric, "describe") else None


def node_text(node: dict[str, Any]) -> str:
    """A component as a call: its name without package, and its arguments."""
    arguments = ", ".join(f"{key}={value}" for key, value in node.items() if key != "name")
    return f"{node['name'].rpartition('.')[2]}({arguments})"
