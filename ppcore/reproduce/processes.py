"""Child processes that are ended as a whole, with everything they started."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ppcore.engine.logger import log
from ppcore.reproduce.launch import typed
from ppcore.runtime import interrupts

# How a training is asked to end, and the seconds it gets: SIGINT is what Ctrl-C sends, it closes its files.
_ENDING = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0))


def start(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> subprocess.Popen:
    """Starts a command whose output is appended to a file, under a line with the command itself.

    Args:
        command: what to run.
        environment: variables set besides this process's own.
        log_file: made with its folder where missing.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as file:
        file.write(f"$ {typed(command, environment)}\n".encode())
        file.flush()
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # its own process group: ended as a whole, launcher, workers and all
        )


def end(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes with everything they started: asks twice, then kills."""
    try:
        # Started in the background by a script, this process ignores SIGINT, and so do its children.
        deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        for number, patience in _ENDING[1:] if deaf else _ENDING:
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
def signals_raise() -> Iterator[None]:
    """Makes `kill` and a closed terminal unwind this process as Ctrl-C does, so that its jobs are ended."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    interrupts.raise_again()
    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stop) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
