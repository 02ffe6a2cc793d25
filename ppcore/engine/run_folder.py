"""The folder of a run: what it was configured to be, and whether a run may continue in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import ValidationError

from ppcore.config import Config, GlobalSection, components
from ppcore.config.durations import Duration
from ppcore.engine import evaluators
from ppcore.errors import CheckpointError, ConfigError, reason

Schedules = Callable[[int], tuple[float, ...]]  # all that a configuration schedules, by step

# Keys that may differ between a checkpoint and the run that resumes it: they change what is
# written, shown or loaded how fast, not what is computed. A component's own are annotated as `components.FREE`.
# (A new length is checked by `check_extension`.)
FREE = {
    "Global": {"output_dir", "device", "save_every", "log_every", "keep_checkpoints", "resume", "visualdl",
               "visualdl_graph", "eval_every", "best_metric", "duration", "epochs", "recompute"},
    "DataLoader.Train": {"num_workers"},
    "DataLoader.Eval": {"num_workers", "batch_size"},
    "EMA": {"headline"},
}  # fmt: skip
IGNORED_SECTIONS = {"Infer", "Export", "Baselines", "Networks"}


def essentials(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that decides what training computes, as flat key paths."""
    flat: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            free = FREE.get(path, set()) | components.free_arguments(node)
            for key, value in node.items():
                if key not in free:
                    walk(value, f"{path}.{key}" if path else key)
        elif isinstance(node, list):
            for number, item in enumerate(node):
                walk(item, f"{path}.{number}")
        else:
            flat[path] = node

    walk({key: value for key, value in tree.items() if key not in IGNORED_SECTIONS}, "")
    return flat


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Makes a run's folder and keeps other processes from training in it until the block ends, however it ends.

    Raises:
        ConfigError: the folder cannot be made or written, or another process trains there.
    """
    change = "choose another Global.output_dir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise ConfigError(f"{folder}: another process is training there: wait for it, or {change}") from None
    except (OSError, NotImplementedError) as error:  # no room, no right, or no locks on this file system
        raise ConfigError(
            f"{folder}: this run's folder cannot be written or locked ({reason(error)}): {change}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_resumable(folder: Path, config: Config) -> None:
    """Checks that this configuration may run in `folder`; its length may differ (see `check_extension`).

    A run that ended before its first checkpoint does not hold the folder; its log of metrics is
    set aside as metrics.abandoned.jsonl.

    Raises:
        ConfigError: the folder holds a run and `Global.resume` is `never`.
        CheckpointError: it holds a run of another configuration; the message names what differs.
    """
    metrics = folder / "metrics.jsonl"
    if not any((folder / "checkpoints").glob("step_*")):
        if metrics.is_file():
            metrics.replace(folder / "metrics.abandoned.jsonl")
        return
    if config.Global.resume == "never":
        raise ConfigError(f"{folder} already holds a run: choose another Global.output_dir, or Global.resume=auto")
    old, new = essentials(saved_config(folder)), essentials(config.tree)
    different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if different:
        first = different[0]
        raise CheckpointError(
            f"{folder} holds a run with another configuration: {first} was {old.get(first)!r} and is now "
            f"{new.get(first)!r}"
            + (f" (and {len(different) - 1} more)" if len(different) > 1 else "")
            + "; choose another Global.output_dir"
        )


def saved_config(folder: Path) -> dict[str, Any]:
    """The resolved configuration that a run's folder holds.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / "config.yaml"
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} has checkpoints but no config.yaml: choose another Global.output_dir"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read ({reason(error)}): {_MEND}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("Global"), dict):
        raise CheckpointError(f"{path}: is no configuration of a run: {_MEND}")
    return tree


def saved_length(folder: Path) -> Duration:
    """How long the run of a folder was to last.

    Raises:
        CheckpointError: its configuration is damaged.
    """
    try:
        return GlobalSection.model_validate(saved_config(folder)["Global"]).length()
    except ValidationError as error:
        raise CheckpointError(f"{folder / 'config.yaml'}: its section Global is damaged: {_MEND}") from error


_MEND = "restore it, or choose another Global.output_dir"


def check_extension(folder: Path, done: int, old: Schedules, new: Schedules) -> None:
    """Checks that a run planned for another length may go on under the new one: what was scheduled so far must be the same.

    Args:
        folder: the run's.
        done: updates it has made.
        old: all that is scheduled, by step, under the length it was started with.
        new: under the length wanted now.

    Raises:
        CheckpointError: they differ; the message says what works instead.
    """
    if _same(done, old, new):
        return
    raise CheckpointError(
        f"{folder}: this run's learning rate was planned for another length, so it cannot go on under the new "
        f"Global.duration; {how_to_train_longer(folder, done, old, new)}"
    )


def how_to_train_longer(folder: Path, done: int, schedules: Schedules, longer: Schedules) -> str:
    """What works for a run of these schedules, given what they would be for a longer run."""
    if _same(done, schedules, longer):
        return "set a longer Global.duration to train on"
    return (
        "to train longer, start a run of its own (-o Global.output_dir=NEW) with that Global.duration, or from the weights "
        f"of this one (-o Global.pretrained={folder})"
    )


def _same(steps: int, one: Schedules, other: Schedules) -> bool:
    return all(one(step) == other(step) for step in range(steps))


def protocol(config: Config, precision: str) -> str:
    """How evaluation is measured, in one line: dataset, preprocessing, metric, precision.

    A metric that has conventions to name says them itself (`describe`), and so does `Precision`.
    """
    part = config.DataLoader.Eval
    nodes = [node for node in config.metrics() if part or not evaluators.is_metric(node)]
    measured = ", ".join(described(node) or node_text(node) for node in nodes)
    if part is None:
        return f"{measured}; {precision}" if nodes else "no evaluation data"
    steps = " -> ".join(node_text(node) for node in part.transforms.values())
    return f"{node_text(part.dataset)} -> {steps}; {measured}; {precision}; unreadable images: {part.unreadable}"


def described(node: Mapping[str, Any]) -> str | None:
    """What a metric says of its conventions, if it has any to name; an evaluator's say its arguments."""
    return components.build(node).describe() if evaluators.is_metric(node) else None


def node_text(node: dict[str, Any]) -> str:
    """A component as a call: its name without package, and its arguments."""
    arguments = ", ".join(f"{key}={value}" for key, value in node.items() if key != "name")
    return f"{node['name'].rpartition('.')[2]}({arguments})"
