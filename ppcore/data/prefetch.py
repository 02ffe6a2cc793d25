"""Items of an iterator made ahead by a thread."""

import threading
import weakref
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import Any


class Prefetcher(Iterator):
    """The items of a generator in their order, made ahead by a thread, and the exception that ends it, if one does.

    The first item is made by the thread that asks for it, so processes that the generator starts are forked there.

    Args:
        source: a generator that looks at `stopping` wherever it may wait long. It is closed in the thread that ran it.
        stopping: set by `close`.
        ahead: largest number of finished items that wait.
    """

    def __init__(self, source: Generator, stopping: threading.Event, ahead: int = 2):
        self._source, self._stopping = source, stopping
        self._ready: SimpleQueue = SimpleQueue()
        self._room = threading.Semaphore(ahead)
        self._thread: threading.Thread | None = None
        self._finalizer = weakref.finalize(self, source.close)
        self._over = False

    def __next__(self) -> Any:
        """The next item.

        Raises:
            StopIteration: there is none, or the prefetcher was closed.
        """
        if self._over:
            raise StopIteration
        if self._thread is None:
            item, error = _made(self._source)
            if error is None:
                self._start()
        else:
            item, error = self._ready.get()
            self._room.release()
        if error is not None:
            self.close()
            raise error
        return item

    def _start(self) -> None:
        arguments = (self._source, self._ready, self._room, self._stopping)
        # A daemon, as Python waits for others before anything else at its end; the finalizer ends it there.
        self._thread = threading.Thread(target=_work, args=arguments, name="prefetch", daemon=True)
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _end, self._thread, self._room, self._stopping)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes the generator; may be called twice."""
        self._over = True
        self._finalizer()


def _made(source: Generator) -> tuple[Any, BaseException | None]:
    """An item, or the exception instead of it (StopIteration at the end)."""
    try:
        return next(source), None
    except BaseException as error:  # raised again where the item is asked for
        return None, error


def _work(source: Generator, ready: SimpleQueue, room: threading.Semaphore, stopping: threading.Event) -> None:
    """The thread's life; it does not know the prefetcher, which may thus be dropped."""
    error = None
    while error is None:
        room.acquire()
        if stopping.is_set():
            break
        made = _made(source)
        ready.put(made)
        error = made[1]
        del made  # the consumer's alone
    source.close()


def _end(thread: threading.Thread, room: threading.Semaphore, stopping: threading.Event) -> None:
    stopping.set()
    room.release()
    thread.join()
