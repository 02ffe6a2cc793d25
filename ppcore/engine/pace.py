"""How fast a training goes, and when to say so."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, EVERY = 2.0, 5.0  # seconds to the first line of progress, and between lines


class Pace:
    """Steps and images over time, without the pauses for evaluating and saving.

    Args:
        step: where training starts or goes on.
        total: where it ends.
    """

    def __init__(self, step: int, total: int):
        self.began = time.monotonic()
        self.first, self.total, self.step, self.images = step, total, step, 0
        self._paused = 0.0
        self._window = (self.began, 0.0, 0)
        self._told = self.began - EVERY + FIRST

    def add(self, images: int) -> None:
        """Counts a finished step of so many images, over all processes."""
        self.step += 1
        self.images += images

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in which nothing is trained."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - begin

    def window(self) -> float:
        """Images a second since the last call."""
        now = (time.monotonic(), self._paused, self.images)
        seconds = (now[0] - self._window[0]) - (now[1] - self._window[1])
        images = now[2] - self._window[2]
        self._window = now
        return images / max(seconds, 1e-9)

    def due(self) -> bool:
        """Whether a line of progress is due; asking says that it is written."""
        now = time.monotonic()
        if now - self._told < EVERY:
            return False
        self._told = now
        return True

    @property
    def seconds(self) -> float:
        """Since training started, pauses included."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """Images a second since training started, without the pauses."""
        return self.images / max(self.seconds - self._paused, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds to the end at the speed so far; None when that says nothing (no step yet, or none left)."""
        done, rest = self.step - self.first, self.total - self.step
        return rest * (self.seconds - self._paused) / done if done and rest else None
