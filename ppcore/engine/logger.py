"""What a run says of itself: log, progress, metrics.jsonl, VisualDL, environment."""

import logging
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import ppcore
from ppcore import runtime
from ppcore.engine import records
from ppcore.engine.pace import Pace

log = logging.getLogger("ppcore")


def environment(world_size: int, device: str, config: Sequence[str] = ()) -> dict[str, Any]:
    """What a result depends on besides the configuration: versions, machine, command, commit.

    Args:
        world_size: processes.
        device: `cpu` or `gpu`.
        config: files of the configuration.
    """

    def version(package: str) -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    def git(*arguments: str) -> str | None:
        # A copy without .git, or a machine without git, has no commit to name.
        here = Path(__file__).parent
        try:
            done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    dirty = git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": shlex.join(["python", _from_root(sys.argv[0]) or Path(sys.argv[0]).name, *sys.argv[1:]]),
        "config": " + ".join(_from_root(file) or str(file) for file in config),
        "git_sha": git("rev-parse", "HEAD"),
        "git_dirty": None if dirty is None else bool(dirty),
        "python": platform.python_version(),
        "paddle": version("paddlepaddle") or version("paddlepaddle-gpu"),
        "numpy": version("numpy"),
        "opencv": version("opencv-python") or version("opencv-python-headless"),
        "ppcore": ppcore.__version__,
        "platform": platform.platform(),
        "cpu": runtime.cpu_name(),
        "cores": runtime.available_cores(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "device": device,
        "tf32": device == "gpu" and runtime.tf32_allowed(),
        "world_size": world_size,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _from_root(file: str) -> str | None:
    """A file's path as one types it in the repository, when it lies there."""
    root, path = Path(ppcore.__file__).resolve().parents[1], Path(file).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else None


def setup_logging(folder: Path | None = None) -> None:
    """Sends the suite's log to standard error and, in a run, to its log.txt."""
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        handlers.append(logging.FileHandler(folder / "log.txt", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        log.addHandler(handler)


class Events:
    """The writer of a run's folder; silent in every process but the main one.

    Args:
        folder: the run's folder.
        active: whether this process writes.
        total_steps: length of the run, for progress.
        visualdl: whether to write VisualDL records under `vdl/`.
    """

    def __init__(self, folder: Path, *, active: bool, total_steps: int, visualdl: bool = True):
        self.folder, self.active, self.total_steps = folder, active, total_steps
        self.vdl = self._progress = self._metrics = None
        if not active:
            return
        self._metrics = (folder / records.NAME).open("a", encoding="utf-8")
        if visualdl:
            from visualdl import LogWriter  # takes a second to import

            self.vdl = LogWriter(str(folder / "vdl"), display_name=folder.name)
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("training", total=total_steps)
            self._progress.start()

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Appends a line to metrics.jsonl and puts its numbers into VisualDL."""
        if not self.active:
            return
        self._metrics.write(records.encode(kind, step=step, time=time.time(), **values) + "\n")
        self._metrics.flush()
        if self.vdl is not None and kind in ("train", "eval"):
            scope = f"{kind}_ema" if values.get("weights") == "ema" else kind
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "epoch":
                    self.vdl.add_scalar(f"{scope}/{name}", float(value), step)

    def progress(self, step: int, *, epoch: float, loss: float, lr: float, pace: Pace) -> None:
        """Shows where training is: a bar on a terminal, a line in the log elsewhere."""
        if not self.active:
            return
        text = f"epoch {epoch:.2f} loss {loss:.4f} lr {lr:.2e} {pace.rate:.{0 if pace.rate >= 10 else 1}f} images/s"
        if self._progress is not None:
            self._progress.update(self._task, completed=step, description=text)
        else:
            eta = "" if pace.left is None else f" eta {clock(math.ceil(pace.left))}"
            log.info("step %d/%d %s%s", step, self.total_steps, text, eta)

    def images(self, tag: str, batch: np.ndarray, step: int, limit: int = 8) -> None:
        """Puts network inputs [B, C, H, W] into VisualDL, stretched to the displayable range."""
        if self.vdl is None:
            return
        for i, image in enumerate(batch[:limit]):
            low, high = float(image.min()), float(image.max())
            pixels = ((image - low) / max(high - low, 1e-12) * 255).astype(np.uint8).transpose(1, 2, 0)
            self.vdl.add_image(f"{tag}/{i}", np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, step)

    def close(self) -> None:
        """Flushes and closes everything; may be called twice."""
        if self._progress is not None:
            self._progress.stop()
        for file in (self._metrics, self.vdl):
            if file is not None:
                file.close()
        self.active, self.vdl, self._metrics, self._progress = False, None, None, None


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
