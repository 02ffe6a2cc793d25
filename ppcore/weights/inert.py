"""What stands for numpy's classes and functions where a pickle names them: inert, and counting what they allocate."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ppcore.weights.limits import Allowance

PER_ENTRY = 128  # bytes that an entry of a dictionary takes at most


class Refused(Exception):
    """The pickle asks for something other than arrays and plain containers."""


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Returns the float32 array whose upper 16 bits are `bits` (uint16): exact, any shape."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def shown(value: Any) -> str:
    """A text or number of the pickle for a message; of others the type: a list of lists … has an endless repr."""
    if type(value) is int and abs(value) < 2**63:
        return str(value)
    return repr(value[:100]) if isinstance(value, str) else f"a {type(value).__name__}"


class Function:
    """Stands for a callable that a pickle names; `call` does what little of its work is needed.

    Not the function itself: a pickle may set the state of any object it holds.
    """

    __slots__ = ("call",)

    def __init__(self, call: Callable):
        self.call = call


class InertDtype:
    """Stands for numpy.dtype: a plain number, with its byte order set by the pickle."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *ignored: Any):
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?([fiu][1248]|b1)", code):
            raise Refused(f"an array of dtype {shown(code)}")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        """The byte order; anything else is refused."""
        _, order, subarray, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None, None, None):
            raise Refused("an array of a structured dtype")
        self.dtype = self.dtype.newbyteorder(order)


class InertArray:
    """Stands for numpy.ndarray, whose own __setstate__ trusts what it gets: a flipped bit crashes the process.

    Attributes:
        value: the array once the pickle has given it a state.
    """

    __slots__ = ("_allowance", "value")

    def __init__(self, allowance: Allowance, value: np.ndarray | None = None):
        self._allowance, self.value = allowance, value

    def set_state(self, state: tuple) -> None:
        """The state that numpy writes: version, shape, dtype, order, bytes."""
        _, shape, dtype, fortran, data = state
        self.value = _array(self._allowance, data, dtype, shape, "F" if fortran else "C")


def _array(allowance: Allowance, data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(data, (bytes, bytearray, str)) or not isinstance(dtype, InertDtype):
        raise Refused("an array without bytes or dtype")
    allowance.spend(256 + 2 * len(data))
    data = data.encode("latin1") if isinstance(data, str) else data
    flat = np.frombuffer(data, dtype.dtype).astype(dtype.dtype.newbyteorder("="))
    return flat.reshape(whole_numbers(shape), order=order)  # checks the count


def whole_numbers(values: Any) -> tuple[int, ...]:
    """A shape or strides out of a pickle.

    Raises:
        Refused: not a short tuple of 64-bit integers.
    """
    short = isinstance(values, tuple) and len(values) <= 64
    if not short or not all(type(n) is int and abs(n) < 2**63 for n in values):
        raise Refused("a shape that is not a few whole numbers")
    return values


def inert_globals(allowance: Allowance) -> dict[tuple[str, str], Any]:
    """Names any of these files may use."""

    def latin1(text: Any, encoding: Any = "latin1") -> bytes:
        # Protocol-2 pickles write bytes as _codecs.encode(text, "latin1"); no other codec is needed.
        if not isinstance(text, str) or encoding != "latin1":
            raise Refused(f"_codecs.encode with {shown(encoding)}")
        allowance.spend(len(text))
        return text.encode("latin1")

    def as_tuple(values: Any = ()) -> tuple:
        items = _items(values)
        allowance.spend(8 * len(items))
        return tuple(items)

    def ordered(pairs: Any = ()) -> dict:
        allowance.spend(PER_ENTRY * len(_items(pairs)))
        return {dictionary_key(key): value for key, value in map(_items, pairs)}

    def scalar(dtype: Any, data: Any) -> float | int | bool:
        return _array(allowance, data, dtype, (), "C").item()

    def from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> InertArray:
        return InertArray(allowance, _array(allowance, data, dtype, shape, order))

    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,  # an argument of _reconstruct, which needs none
        ("numpy", "dtype"): Function(InertDtype),
        ("builtins", "tuple"): Function(as_tuple),
        ("collections", "OrderedDict"): Function(ordered),
        ("_codecs", "encode"): Function(latin1),
        # Training scripts keep their options beside the weights; what they are is not read.
        ("argparse", "Namespace"): Function(lambda *ignored: {}),
    }
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2 spell it differently
        table[f"{core}.multiarray", "_reconstruct"] = Function(lambda *ignored: InertArray(allowance))
        table[f"{core}.multiarray", "scalar"] = Function(scalar)
        table[f"{core}.numeric", "_frombuffer"] = Function(from_buffer)
    return table


def _items(values: Any) -> list | tuple:
    """A list or tuple; what iterates over a text makes an object of every letter."""
    if not isinstance(values, (list, tuple)):
        raise Refused(f"the items of {shown(values)}")
    return values


def dictionary_key(key: Any) -> Any:
    """A key of a dictionary. A tuple of tuples of tuples … takes for ever to hash, so it is none."""
    plain = (str, bytes, int, float, type(None))
    if isinstance(key, plain) or (isinstance(key, tuple) and all(isinstance(part, plain) for part in key)):
        return key
    raise Refused(f"a dictionary with {shown(key)} as a key")
