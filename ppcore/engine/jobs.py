"""Trainings as jobs: side by side where they fit, each with a log of its own, one line a job every few seconds."""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ppcore.engine.events import clock, log
from ppcore.engine.launch import StepFailed, typed
from ppcore.engine.watch import Watch

# How a training is asked to end, and the seconds it gets: SIGINT is what Ctrl-C sends, it closes its files.
_ENDING = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0))
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
    with _signals_raise():
        try:
            while waiting or running:
                while (job := _next(waiting, running, done, cores)) is not None:
                    waiting.remove(job)
                    say(job, f"started, log {job.log}")
                    running[job.name] = _start(job, numbers[job.name], ended)
                try:
                    name = ended.get(timeout=every)
                except queue.Empty:
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
            _end([item.process for item in running.values()])


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
    job.log.parent.mkdir(parents=True, exist_ok=True)
    watch = Watch(job.folder)
    with job.log.open("ab") as file:
        file.write(f"$ {typed(job.command, job.environment)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            list(job.command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **job.environment},
            start_new_session=True,  # its own process group: ended as a whole, launcher, workers and all
        )

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


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes with everything they started: asks twice, then kills."""
    try:
        for number, patience in _ENDING:
            alive = [process for process in processes if process.poll() is None]
            for process in alive:
                _signal(process, number)
            until = time.monotonic() + patience
            for process in alive:
                try:
                    process.wait(timeout=max(until - time.monotonic(), 0.0))
                except subprocess.TimeoutExpired:
                    log.info("process %d does not end on %s", process.pid, number.name)
    finally:  # also when a second Ctrl-C cuts the waiting short
        for process in processes:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # the whole group has ended


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes `kill` and a closed terminal unwind this process as Ctrl-C does, so that its jobs are ended."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stop) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
