"""Ctrl-C before the work begins.

While a program still imports, KeyboardInterrupt comes out of it as a traceback, and Paddle's import turns it into an
ImportError. There is nothing to put away yet, so the program just leaves.
"""

import os
import signal
import sys
from types import FrameType


def leave_at_once() -> None:
    """Makes Ctrl-C end this program with status 130 and one word, until `raise_again`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job of a script ignores it
        signal.signal(signal.SIGINT, _leave)


def raise_again() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt, as it does otherwise: the work begins."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(128 + number)
