"""Reads numpy arrays out of Paddle and PyTorch pickles without running what they ask to run.

A pickle is a program: it may name any importable callable and call it. Here every name it
gives is looked up in a short table of inert stand-ins; anything else is refused by name.
`ppcore.torch_file` adds the names of PyTorch.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppcore.errors import WeightsError


class Refused(Exception):
    """The pickle names something outside the table."""


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Returns the float32 array whose upper 16 bits are `bits` (uint16): exact, any shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    # Protocol-2 pickles write bytes as _codecs.encode(text, "latin1"); no other codec is needed.
    if encoding != "latin1":
        raise Refused(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


# A pickle may call `__setstate__` on any object it holds, and numpy's own trusts what it gets: a
# flipped bit in an array's state crashes the process. So no numpy object is ever within a pickle's
# reach: these stand-ins are, and they check.


class InertDtype:
    """Stands for numpy.dtype: a plain number, with its byte order set by the pickle."""

    def __init__(self, code: str, *ignored: Any):
        if not re.fullmatch(r"[<>|=]?([fiu][1248]|b1)", code):
            raise Refused(f"an array of dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None, None, None):
            raise Refused("an array of a structured dtype")
        self.dtype = self.dtype.newbyteorder(order)


class InertArray:
    """Stands for numpy.ndarray; `value` is the array once the pickle has given it a state."""

    __slots__ = ("value",)

    def __init__(self, value: np.ndarray | None = None):
        self.value = value

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: bytes | str, dtype: InertDtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    data = data.encode("latin1") if isinstance(data, str) else bytes(data)
    flat = np.frombuffer(data, dtype.dtype).astype(dtype.dtype.newbyteorder("="))
    return flat.reshape(tuple(int(n) for n in shape), order=order)  # checks the count


def _from_buffer(data: bytes, dtype: InertDtype, shape: tuple, order: str) -> InertArray:
    return InertArray(_array(data, dtype, shape, order))


def _scalar(dtype: InertDtype, data: bytes | str) -> float | int | bool:
    return _array(data, dtype, (), "C").item()


def _reconstruct(*ignored: Any) -> InertArray:
    return InertArray()


def inert_globals() -> dict[tuple[str, str], Any]:
    """Names any of these files may use.

    A pickle may set attributes on what it is given, so functions of ours are wrapped and the one
    class is made afresh for each file; Python's own refuse it.
    """

    class Namespace:
        """Stands for argparse.Namespace: training scripts keep their options beside the weights."""

    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,  # an argument of _reconstruct, which needs none
        ("numpy", "dtype"): partial(InertDtype),
        ("builtins", "tuple"): tuple,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): partial(_latin1),
        ("argparse", "Namespace"): Namespace,
    }
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2 spell it differently
        table[f"{core}.multiarray", "_reconstruct"] = partial(_reconstruct)
        table[f"{core}.multiarray", "scalar"] = partial(_scalar)
        table[f"{core}.numeric", "_frombuffer"] = partial(_from_buffer)
    return table


def _plain(content: Any, depth: int = 4) -> Any:
    """Replaces stand-ins by arrays, down to `depth` containers (a pickle may hold itself)."""
    if isinstance(content, InertArray):
        return content.value
    if depth and isinstance(content, dict):
        return {key: _plain(value, depth - 1) for key, value in content.items()}
    if depth and type(content) in (list, tuple):
        return type(content)(_plain(value, depth - 1) for value in content)
    return content


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, table: dict, load_storage: Callable | None = None):
        super().__init__(stream)
        self._table = table
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._table[module, name]
        except KeyError:
            raise Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load_storage is None:
            raise Refused(f"a persistent object {pid!r}")
        return self._load_storage(pid)


def unpickle(stream: io.BytesIO, path: Path, table: dict | None = None, load_storage: Callable | None = None) -> Any:
    """Returns what a pickle holds, arrays as numpy.

    Args:
        stream: the pickle.
        path: the file, for messages.
        table: (module, name) -> stand-in, `inert_globals()` by default.
        load_storage: resolves persistent ids, refused when None.

    Raises:
        WeightsError: the pickle names something outside `table`.
        Exception: any other, since a damaged pickle fails in any way its opcodes allow.
    """
    table = inert_globals() if table is None else table
    try:
        return _plain(_Unpickler(stream, table, load_storage).load())
    except Refused as refusal:
        raise WeightsError(
            f"{path}: refused to unpickle {' '.join(str(refusal).split())}: only arrays and plain containers are read, "
            "never code; ask for the file as .safetensors"
        ) from None


def load_paddle(path: Path) -> Any:
    """Returns the object `paddle.save` wrote (protocols 2 to 5, Paddle 2.x and 3.x), as numpy.

    Paddle stores bfloat16 as uint16; the caller widens it. Raises as `unpickle`.
    """
    return unpickle(io.BytesIO(path.read_bytes()), path)
