"""The command that trains a configuration, as a user would type it."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppcore import runtime
from ppcore.config import roles
from ppcore.errors import PPError


class StepFailed(PPError):
    """A training that reproduction started has failed."""


def train_command(
    tools: Path, files: Sequence[Path], options: Sequence[str], *, processes: int = 1, gpus: str | None = None
) -> list[str]:
    """Returns the command that runs tools/train.py.

    Args:
        tools: the folder of train.py.
        files: the configuration; each file over those before it.
        options: `-o` texts.
        processes: data-parallel processes on a CPU.
        gpus: cards for the launcher, such as 0,1; overrides `processes`.
    """
    arguments = [_from_here(tools / "train.py")]
    for file in files:
        arguments += ["-c", _from_here(file)]
    for option in options:
        arguments += ["-o", option]
    for package in roles.allowed():
        arguments += ["--allow", package]
    if not gpus and processes == 1:
        return [sys.executable, *arguments]
    launcher = ["-m", "paddle.distributed.launch", "--log_dir", "output/launch"]
    if gpus:
        return [sys.executable, *launcher, "--gpus", gpus, *arguments]
    # gloo works on CPUs only
    return [sys.executable, *launcher, "--nproc_per_node", str(processes), *arguments, "-o", "Global.device=cpu"]


def _from_here(path: Path) -> str:
    """A path as one types it: relative where it lies below the working directory."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def thread_variables(processes: int, threads: int | None = None) -> dict[str, str]:
    """Thread variables of a training; this process has set its own share, which the training must not inherit."""
    return {"OMP_NUM_THREADS": str(threads or max(runtime.available_cores() // processes, 1))}


def typed(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Returns the command with its variables as one line for a shell."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in environment.items()), shlex.join(command)])
