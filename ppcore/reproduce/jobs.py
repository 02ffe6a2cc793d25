"""Trainings as jobs: side by side where they fit, each with a log of its own, one line a job every few seconds."""

import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from ppcore.engine.logger import clock, log
from ppcore.reproduce.launch import StepFailed, typed
from ppcore.reproduce.processes import end, signals_raise, start
from ppcore.reproduce.progress import Progress

_SHOWN_LINES = 15  # of a failed job's log


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: unique among the jobs, as the console shows it.
        command: what to run.
        folder: the run's folder, where metrics.jsonl grows.
        log: file for everything the command prints; appended to.
        environment: variables set besides this process's own.
        cores: cores it takes while others run; None for a job that runs alone.
        after: names of the jobs that must have ended before.
        kept: whether its run is there already, so that nothing is started.
    """

    name: str
    command: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: int | None = None
    after: tuple[str, ...] = ()
    kept: bool = False


@dataclass
class _Running:
    """A job whose process runs; `said` is its last progress line."""

    job: Job
    process: subprocess.Popen
    progress: Progress
    began: float
    said: str = ""


def run_all(jobs: Sequence[Job], *, cores: int, every: float = 5.0) -> None:
    """Runs jobs in their order, as many at a time as the cores allow.

    A job that waits for another lets later ones pass; one that wants the machine for itself does not.

    Args:
        jobs: what to run.
        cores: cores to share out.
        every: seconds between progress lines.

    Raises:
        StepFailed: a job ended with an error. The others have been ended too; their runs can be resumed.
        ValueError: a job waits for one that is not there, or for itself in the end.
    """
    console, order, ready = _Console(jobs), _order(jobs), list[Job]()
    by_name = {job.name: job for job in jobs}
    running: dict[Future[int], _Running] = {}  # by what its process ends with
    due = time.monotonic() + every
    with signals_raise(), ThreadPoolExecutor(max(len(jobs), 1)) as threads:
        try:
            while order.is_active():
                ready = sorted([*ready, *(by_name[name] for name in order.get_ready())], key=jobs.index)
                while ready and _fits(ready[0], [item.job for item in running.values()], cores):
                    item = _start(ready.pop(0), console)
                    running[threads.submit(item.process.wait)] = item
                ended, _ = wait(running, timeout=max(due - time.monotonic(), 0.0), return_when=FIRST_COMPLETED)
                for future in sorted(ended, key=lambda future: future.result() != 0):
                    item = running.pop(future)
                    if future.result():
                        raise _failure(item, others=len(running))
                    order.done(item.job.name)
                    console.finished(item)
                if time.monotonic() >= due:
                    due = time.monotonic() + every
                    console.progress(running.values())
        finally:
            end([item.process for item in running.values()])


def _order(jobs: Sequence[Job]) -> TopologicalSorter:
    """Who waits for whom among the jobs that are not there already."""
    names, kept = {job.name for job in jobs}, {job.name for job in jobs if job.kept}
    for job in jobs:
        if absent := [name for name in job.after if name not in names]:
            raise ValueError(f"job '{job.name}' waits for '{absent[0]}', which is not among the jobs")
    order = TopologicalSorter({job.name: {*job.after} - kept for job in jobs if not job.kept})
    order.prepare()
    return order


def _fits(job: Job, running: Sequence[Job], cores: int) -> bool:
    """Whether a job can start beside those that run."""
    if not running:
        return True
    taken = [other.cores for other in running]
    return job.cores is not None and None not in taken and sum(taken) + job.cores <= cores


def _start(job: Job, console: "_Console") -> _Running:
    console.say(job, f"started, log {job.log}")
    progress = Progress(job.folder)
    return _Running(job, start(job.command, job.environment, job.log), progress, time.monotonic())


class _Console:
    """One line at a time about a job: its number, its name, and what there is to say."""

    def __init__(self, jobs: Sequence[Job]):
        self.total = len(jobs)
        self.numbers = {job.name: number for number, job in enumerate(jobs, 1)}
        self.width = max((len(job.name) for job in jobs), default=0)
        self.done = 0
        for job in jobs:
            if job.kept:
                self.done += 1
                self.say(job, f"kept: {job.folder} holds this training, finished")

    def say(self, job: Job, text: str) -> None:
        digits, number = len(str(self.total)), self.numbers[job.name]
        log.info("[%*d/%d] %-*s  %s", digits, number, self.total, self.width, job.name, text)

    def progress(self, running: Iterable[_Running]) -> None:
        """Where each job is, if that is news."""
        for item in running:
            if (text := item.progress.read()) != item.said:
                self.say(item.job, text)
                item.said = text

    def finished(self, item: _Running) -> None:
        self.done += 1
        took = clock(time.monotonic() - item.began)
        self.say(item.job, f"finished in {took}{item.progress.result()} ({self.done} of {self.total} done)")


def _failure(item: _Running, others: int) -> StepFailed:
    """Shows the end of a failed job's log and returns the error to raise."""
    job, status = item.job, item.process.returncode
    last = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    log.error("%s failed; the last lines of %s:\n%s", job.name, job.log, "\n".join(f"    {line}" for line in last))
    how = f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
    stopped = f"; the {others} beside it stopped and can be resumed" if others else ""
    command = typed(job.command, job.environment)
    return StepFailed(f"{job.name} failed ({how}){stopped}; its log is {job.log}; repeat it with: {command}")
