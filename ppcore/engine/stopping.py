"""Ending a training on a signal: at the next step, with everything saved."""

import signal
import threading
from types import FrameType

import numpy as np

from ppcore.engine.distributed import World

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Processes agree to stop every so many steps: asking costs a transfer, which a GPU would wait for.
_AGREE_EVERY = 10


class StopRequest:
    """Notes SIGINT (Ctrl-C) and SIGTERM (`kill`, a scheduler) from `listen` to `close`; a second SIGINT interrupts at once.

    Attributes:
        number: the signal that came, 0 before one does.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict = {}

    def listen(self) -> None:
        """Takes the signals over from whoever had them."""
        if threading.current_thread() is threading.main_thread():
            # A script's background job ignores SIGINT; so it stays.
            wanted = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {n: signal.signal(n, self._note) for n in wanted}

    def close(self) -> None:
        """Gives them back; may be called twice."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def agreed(self, world: World, step: int) -> int:
        """The signal to stop for after `step`, the same in every process; 0 for none."""
        if world.size == 1:
            return self.number
        if step % _AGREE_EVERY:
            return 0
        heard = world.sum(np.array([float(self.number == n) for n in _SIGNALS]))
        return next((int(n) for n, count in zip(_SIGNALS, heard, strict=True) if count), 0)
