"""Running a SampleReader in worker processes.

Not `paddle.io.DataLoader`: with it, loaders that were closed half-way left their workers and reader
threads running, and a later loader or the end of the program then waited for ever (seen with 2.6.2
and 3.3.1). Here nothing is shared that can be left locked: every worker has one pipe, and memory of
its own that only it writes. Worker `w` of `n` makes the batches w, w + n, w + 2n, … of the stream and
writes them to its slots in turn; the main process reads them in order and gives the slot back with
one byte. The memory is anonymous: it needs no room in /dev/shm and vanishes with the processes.
"""

import contextlib
import json
import mmap
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize

import cv2
import numpy as np

from ppcore.data.reader import FAILURES, Failure, SampleReader, collate
from ppcore.data.samplers import BatchSampler, Key
from ppcore.errors import DataError

_SLOTS = 2  # batches a worker makes ahead
_ALIGN = 64  # bytes; arrays in a slot begin at multiples of it
_LOOK_UP = 0.1  # seconds between two looks whether to stop

# Held by whoever makes samples in a thread, and by whoever forks: a process that was forked in the middle of OpenCV's
# work in another thread would find its locks held for ever.
making = threading.RLock()


def worker_batches(
    reader: SampleReader, stream: BatchSampler, num_workers: int, stopping: threading.Event
) -> Iterator[dict[str, np.ndarray]]:
    """Collated batches in the stream's order; see `reader.collate`.

    Args:
        reader: makes the samples.
        stream: the keys.
        num_workers: processes, at least 1. They live until the iterator ends or is closed.
        stopping: ends the iterator when it is set, also while it waits for a worker.

    Yields:
        Dicts of arrays, which are views valid until the next batch is asked for.

    Raises:
        DataError: a worker died, or there is no memory for the batches.
    """
    workers: list[_Worker] = []
    try:
        with making:
            slot_bytes = _slot_bytes(reader, stream)
            threads = cv2.getNumThreads()
            # Before forking, not in the worker: OpenCV would wait there for threads that only the parent
            # has. Without threads of its own a worker does not compete with the others.
            cv2.setNumThreads(0)
            try:
                for number in range(num_workers):
                    workers.append(_Worker(reader, stream, number, num_workers, slot_bytes))
            finally:
                cv2.setNumThreads(threads)
        for position in range(len(stream)):
            worker = workers[position % num_workers]
            batch = worker.receive(stopping)
            if batch is None:
                return
            yield batch
            worker.release()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One process, seen from the main process."""

    def __init__(self, reader: SampleReader, stream: BatchSampler, number: int, num_workers: int, slot_bytes: int):
        try:
            self._memory = mmap.mmap(-1, _SLOTS * slot_bytes)  # shared with the forked process
        except OSError as error:
            raise DataError(
                f"no memory for {_SLOTS * slot_bytes / 1e6:.0f} MB of batches a worker ({error.strerror}): "
                "lower DataLoader.num_workers or batch_size"
            ) from None
        self._slots = [memoryview(self._memory)[i * slot_bytes : (i + 1) * slot_bytes] for i in range(_SLOTS)]
        self._received = 0
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        mine = (keys for position, keys in enumerate(stream) if position % num_workers == number)
        self._process = context.Process(target=_work, args=(reader, mine, self._slots, theirs), daemon=True)
        self._process.start()
        theirs.close()
        # At the end of a program multiprocessing would ask with SIGTERM, which workers ignore.
        self._finalizer = Finalize(self, self._process.kill, exitpriority=1)

    def receive(self, stopping: threading.Event) -> dict[str, np.ndarray] | None:
        """The worker's next batch; None when `stopping` is set before it comes."""
        ready: list = []
        while not ready:
            if stopping.is_set():
                return None
            ready = wait([self._pipe, self._process.sentinel], _LOOK_UP)
        if self._pipe in ready:
            try:
                return _unpack(self._pipe.recv(), self._slots[self._received % _SLOTS])
            except (EOFError, OSError):
                pass  # the pipe of a dead worker
        self._process.join()
        raise DataError(
            f"a data worker died ({_cause(self._process.exitcode)}); if memory ran out, lower "
            "DataLoader.num_workers or batch_size"
        )

    def release(self) -> None:
        """Lets the worker overwrite the batch received last."""
        self._received += 1
        with contextlib.suppress(OSError):  # a dead worker; `receive` says so, if a batch is still due
            self._pipe.send_bytes(b"1")

    def end(self) -> None:
        self._finalizer.cancel()
        self._process.kill()  # it holds nothing that needs tidying
        self._process.join()
        self._process.close()
        self._pipe.close()


def _work(reader: SampleReader, batches: Iterator[list[Key]], slots: list[memoryview], pipe: Connection) -> None:
    """A worker's life: makes its batches of keys."""
    # Ctrl-C and a scheduler's SIGTERM to the whole group are the main process's to handle; it kills its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for made, keys in enumerate(batches):
        if made >= _SLOTS and not _slot_is_free(pipe):
            return
        try:
            message = _pack(collate([reader[key] for key in keys]), slots[made % _SLOTS])
        except Exception:  # a bug; raised by the main process with this traceback
            failure = json.dumps([Failure("bug", traceback.format_exc())])
            message = [(FAILURES, np.frombuffer(failure.encode(), np.uint8))]
        pipe.send(message)
    _slot_is_free(pipe)  # stay until the parent ends this process: an exit would look like a death


def _slot_is_free(pipe: Connection) -> bool:
    """Waits for the main process to give a slot back; False if it is gone."""
    while not pipe.poll(1):
        if os.getppid() != multiprocessing.parent_process().pid:
            return False
    try:
        pipe.recv_bytes()
    except EOFError:
        return False
    return True


def _slot_bytes(reader: SampleReader, stream: BatchSampler) -> int:
    """Room for one batch, guessed from the first sample."""
    keys = next(iter(stream), [])
    sample = reader[keys[0]] if keys else {}
    each = 0
    if not isinstance(sample, Failure):  # (a failure is reported when its batch is due)
        each = sum(value.nbytes if isinstance(value, np.ndarray) else 8 for value in sample.values())
    return max(len(keys) * each + 64 * _ALIGN, mmap.PAGESIZE)


def _pack(batch: dict[str, np.ndarray], slot: memoryview) -> list[tuple]:
    """Writes arrays to a slot; those that do not fit travel through the pipe, more slowly."""
    message: list[tuple] = []
    start = 0
    for name, array in batch.items():
        if start + array.nbytes > len(slot):
            message.append((name, array))
            continue
        np.frombuffer(slot, array.dtype, array.size, start).reshape(array.shape)[...] = array
        message.append((name, array.dtype, array.shape, start))
        start = -(-(start + array.nbytes) // _ALIGN) * _ALIGN
    return message


def _unpack(message: list[tuple], slot: memoryview) -> dict[str, np.ndarray]:
    batch = {}
    for name, *rest in message:
        if len(rest) == 1:
            batch[name] = rest[0]
        else:
            dtype, shape, start = rest
            batch[name] = np.frombuffer(slot, dtype, int(np.prod(shape)), start).reshape(shape)
    return batch


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit status {exit_code}"
