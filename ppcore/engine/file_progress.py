"""How far the files of `tools/infer.py` are, and how fast they go. No Paddle."""

import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ppcore.engine.logger import clock, log
from ppcore.engine.pace import Pace

Item = TypeVar("Item")


def told(items: Iterable[Item], own: int, files: int, size: int = 1, speaks: bool = True) -> Iterator[Item]:
    """Passes on what there is of each file, and says in the log how far it is.

    Args:
        items: one a file; a file is done when the next is asked for.
        own: how many files this process has.
        files: how many there are in all.
        size: processes that share them.
        speaks: whether this one says anything.
    """
    pace = Pace(0, own)
    for item in items:
        yield item
        pace.add(size)
        if pace.left is not None and pace.due() and speaks:
            log.info(
                "%d/%d images, %.1f images/s, eta %s",
                min(pace.step * size, files), files, pace.rate, clock(math.ceil(pace.left)),
            )  # fmt: skip
    if speaks and pace.images:
        log.info("%d images in %.1f s, %.1f images/s", pace.images, pace.seconds, pace.rate)
