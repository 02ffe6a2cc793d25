"""Trainings as jobs: side by side where they fit, each with a log of its own, one line a job every few seconds."""

import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ppcore.engine.logger import clock, log
from ppcore.reproduce.launch import StepFailed, typed
from ppcore.reproduce.processes import end, signals_raise, start
from ppcore.reproduce.progress import Watch

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
        cores: cores it takes beside others; None for a job that runs alone.
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
    job: Job
    number: int
    process: subprocess.Popen
    watch: Watch
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
    """
    numbers = {job.name: number for number, job in enumerate(jobs, 1)}
    width = max((len(job.name) for job in jobs), default=0)
    waiting = [job for job in jobs if not job.kept]
    done = {job.name for job in jobs if job.kept}
    running: dict[str, _Running] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def say(job: Job, text: str) -> None:
        log.info("[%*d/%d] %-*s  %s", len(str(len(jobs))), numbers[job.name], len(jobs), width, job.name, text)

    for job in jobs:
        if job.kept:
            say(job, f"kept: {job.folder} holds this training, finished")
    due = time.monotonic() + every
    with signals_raise():
        try:
            while waiting or running:
                while (job := _next(waiting, running, done, cores)) is not None:
                    waiting.remove(job)
                    say(job, f"started, log {job.log}")
                    running[job.name] = _start(job, numbers[job.name], ended)
                try:
                    name = ended.get(timeout=max(due - time.monotonic(), 0.0))
                except queue.Empty:
                    due = time.monotonic() + every
                    for item in running.values():
                        if (text := item.watch.read()) != item.said:
                            say(item.job, text)
                            item.said = text
                    continue
                item = running.pop(name)
                if item.process.returncode:
                    raise _failure(item, others=len(running))
                done.add(name)
                took = clock(time.monotonic() - item.began)
                say(item.job, f"finished in {took}{item.watch.result()} ({len(done)} of {len(jobs)} done)")
        finally:
            end([item.process for item in running.values()])


def _next(waiting: Sequence[Job], running: Mapping[str, _Running], done: set[str], cores: int) -> Job | None:
    """The job to start now, if any."""
    taken = [item.job.cores for item in running.values()]
    for job in waiting:
        if not done.issuperset(job.after):
            continue
        if job.cores is None:
            return None if running else job
        fits = None not in taken and sum(taken) + job.cores <= cores
        return job if fits or not running else None
    if not running and waiting:
        raise ValueError(
            f"job '{waiting[0].name}' waits for {waiting[0].after}, which are not among the jobs before it"
        )
    return None


def _start(job: Job, number: int, ended: queue.SimpleQueue) -> _Running:
    watch = Watch(job.folder)
    process = start(job.command, job.environment, job.log)

    def wait() -> None:
        process.wait()
        ended.put(job.name)

    threading.Thread(target=wait, daemon=True).start()
    return _Running(job, number, process, watch, time.monotonic())


def _failure(item: _Running, others: int) -> StepFailed:
    """Shows the end of a failed job's log and returns the error to raise."""
    job, status = item.job, item.process.returncode
    last = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    log.error("%s failed; the last lines of %s:\n%s", job.name, job.log, "\n".join(f"    {line}" for line in last))
    how = f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
    stopped = f"; the {others} beside it stopped and can be resumed" if others else ""
    command = typed(job.command, job.environment)
    return StepFailed(f"{job.name} failed ({how}){stopped}; its log is {job.log}; repeat it with: {command}")
