"""Killing a training in the middle, as a machine that loses power does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT


def last_step(folder: Path) -> int:
    """The step of the newest record of a run's folder, -1 without one."""
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.is_file() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=-1)


def train_and_kill(folder: Path, *arguments: object, at: int, last: int, path: tuple = (), cwd: Path = ROOT) -> None:
    """Starts tools/train.py and ends it with SIGKILL once it has recorded a step; asserts that it had not ended.

    Args:
        folder: of the run.
        arguments: of the tool.
        at: the step.
        last: the step the run would end with.
        path: folders to import from besides the repository.
        cwd: working directory.
    """
    command = [sys.executable, str(ROOT / "tools" / "train.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, path)])}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True, cwd=cwd
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while last_step(folder) < at and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last_step(folder) >= at, "the run ended before it could be killed"
    assert not (folder / "checkpoints" / f"step_{last}").exists(), "the run finished before it could be killed"
