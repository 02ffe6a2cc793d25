"""Counts what takes a tensor's values through the host, where on a GPU everything waits for the device."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import paddle
from paddle.base import core

# Each copies from the device to the host or back, and waits until that is done.
_METHODS = (
    "numpy", "item", "tolist", "cpu", "set_value", "get_tensor", "_copy_to", "__array__", "__bool__", "__float__", "__int__",
    "__index__", "__long__", "__nonzero__",
)  # fmt: skip


@contextmanager
def counted() -> Iterator[Counter]:
    """Counts, in this thread, the transfers by (method, file and line of the caller outside Paddle)."""
    found: Counter = Counter()
    here, tensor, inside = threading.get_ident(), core.eager.Tensor, []

    def watched(name, original):
        def call(*arguments, **keywords):
            if threading.get_ident() != here or inside:  # a transfer is counted once, by its outermost call
                return original(*arguments, **keywords)
            inside.append(name)
            try:
                found[name, _caller()] += 1
                return original(*arguments, **keywords)
            finally:
                inside.pop()

        return call

    with_method = {name: getattr(tensor, name) for name in _METHODS if hasattr(tensor, name)}
    to_tensor = paddle.to_tensor
    for name, original in with_method.items():
        setattr(tensor, name, watched(name, original))
    paddle.to_tensor = watched("to_tensor", to_tensor)
    try:
        yield found
    finally:
        paddle.to_tensor = to_tensor
        for name, original in with_method.items():
            setattr(tensor, name, original)


def _caller() -> str:
    frame = sys._getframe(2)
    while frame is not None and "/paddle/" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}" if frame else "?"
