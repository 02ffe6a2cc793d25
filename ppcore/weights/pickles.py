"""Reads numpy arrays out of Paddle and PyTorch pickles without running what they ask to run.

A pickle is a program: it may name any importable callable and call it, and a few bytes of it may
ask for any amount of memory. So it is not given to Python's unpickler. `pickletools` takes it apart
into opcodes and the interpreter below follows those that build plain containers; every name is looked
up in a short table of inert stand-ins (`ppcore.weights.inert`), and what is allocated is counted (`ppcore.weights.limits`).
`ppcore.weights.torch_file` adds the names of PyTorch.
"""

import io
import pickletools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ppcore.errors import WeightsError
from ppcore.weights.inert import (
    PER_ENTRY,
    Function,
    InertArray,
    InertDtype,
    Refused,
    dictionary_key,
    inert_globals,
    shown,
    widen_bfloat16,
)
from ppcore.weights.limits import Allowance

# Bytes that the interpreter and its objects take at most.
_PER_OPCODE, _PER_CONTAINER, _PER_CALL = 32, 128, 256

_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}  # no set of weights: a list will do
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"GET", "BINGET", "LONG_BINGET"}


class _Interpreter:
    """Follows the opcodes of one pickle.

    Args:
        allowance: what its objects may take.
        table: (module, name) -> stand-in.
        load_storage: resolves persistent ids, refused when None.
    """

    def __init__(self, allowance: Allowance, table: dict, load_storage: Callable | None):
        self._allowance, self._table, self._load_storage = allowance, table, load_storage
        self._stack: list[Any] = []
        self._marks: list[int] = []  # lengths of the stack
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """The object that the pickle makes."""
        stack, spend = self._stack, self._allowance.spend
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            spend(_PER_OPCODE)
            if name in _VALUES:
                spend(sys.getsizeof(argument))
                stack.append(argument)
            elif name in _GET:
                stack.append(self._memo[argument])
            elif name in _PUT:
                spend(PER_ENTRY)
                self._memo[len(self._memo) if name == "MEMOIZE" else argument] = stack[-1]
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                spend(_PER_CONTAINER)
                stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                spend(_PER_CONTAINER)
                stack.append(tuple(self._take(_TUPLES[name])))
            elif name == "STOP":
                return stack.pop()
            else:
                self._step(name, argument)
        raise Refused("a pickle without an end")

    def _step(self, name: str, argument: Any) -> None:
        """An opcode that works on what is on the stack."""
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._allowance.spend(_PER_OPCODE)
                self._marks.append(len(stack))
            case "POP" if self._marks and self._marks[-1] == len(stack):
                self._marks.pop()
            case "POP":
                self._take(1)
            case "POP_MARK":
                self._marked()
            case "DUP":
                stack.append(stack[-1])
            case "LIST":
                stack.append(self._marked())
            case "TUPLE" | "FROZENSET":
                stack.append(tuple(self._marked()))
            case "APPEND":
                self._extend(self._take(1))
            case "APPENDS" | "ADDITEMS":
                self._extend(self._marked())
            case "DICT":
                entries = self._marked()
                stack.append({})
                self._update(entries)
            case "SETITEM":
                self._update(self._take(2))
            case "SETITEMS":
                self._update(self._marked())
            case "GLOBAL":
                self._name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self._name(*self._take(2))
            case "REDUCE" | "NEWOBJ":
                self._call(*self._take(2))
            case "BUILD":
                self._set_state(*self._take(1))
            case "PERSID":
                self._persistent(argument)
            case "BINPERSID":
                self._persistent(*self._take(1))
            case _:
                raise Refused(f"the opcode {name}")

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise Refused("from an empty stack")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _marked(self) -> list[Any]:
        values = self._take(len(self._stack) - self._marks.pop())
        self._allowance.spend(_PER_CONTAINER + 16 * len(values))
        return values

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise Refused(f"to append to {shown(self._stack[-1])}")
        self._stack[-1].extend(values)

    def _update(self, entries: list[Any]) -> None:
        if type(self._stack[-1]) is not dict:
            raise Refused(f"to set an item of {shown(self._stack[-1])}")
        self._allowance.spend(PER_ENTRY * (len(entries) // 2))
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            self._stack[-1][dictionary_key(key)] = value

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("a name that is not text")
        if (module, name) not in self._table:
            raise Refused(f"{module[:100]}.{name[:100]}")
        self._stack.append(self._table[module, name])

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise Refused(f"a call of {shown(function)}")
        self._allowance.spend(_PER_CALL)
        self._stack.append(function.call(*arguments))

    def _set_state(self, state: Any) -> None:
        target = self._stack[-1]
        if isinstance(target, (InertDtype, InertArray)):
            target.set_state(state)
        elif type(target) is not dict:  # the attributes of an OrderedDict or a Namespace hold no weights
            raise Refused(f"the state of {shown(target)}")

    def _persistent(self, pid: Any) -> None:
        if self._load_storage is None:
            raise Refused("a persistent object")
        self._allowance.spend(_PER_CALL)
        self._stack.append(self._load_storage(pid))


def _plain(content: Any, leaf: Callable, depth: int, done: dict[tuple[int, int], dict]) -> Any:
    """Replaces stand-ins in a dictionary and, to `depth`, in those it holds; each is copied once."""
    if type(content) is not dict or not depth:
        return leaf(content)
    key = (id(content), depth)
    if key not in done:
        done[key] = {name: _plain(value, leaf, depth - 1, done) for name, value in content.items()}
    return done[key]


def unpickle(
    data: bytes,
    allowance: Allowance,
    *,
    table: dict | None = None,
    load_storage: Callable | None = None,
    leaf: Callable = lambda value: value.value if isinstance(value, InertArray) else value,
) -> Any:
    """Returns what a pickle holds, arrays as numpy (in its dictionary and in those that one holds).

    Args:
        data: the pickle.
        allowance: what its objects may take.
        table: (module, name) -> stand-in, `inert_globals()` by default.
        load_storage: resolves persistent ids, refused when None.
        leaf: stand-in, or anything else that is no dictionary -> what is returned in its place.

    Raises:
        WeightsError: the pickle asks for something outside `table` or for too much memory.
        Exception: any other, since a damaged pickle fails in any way its opcodes allow.
    """
    table = inert_globals(allowance) if table is None else table
    try:
        return _plain(_Interpreter(allowance, table, load_storage).run(io.BytesIO(data)), leaf, 2, {})
    except Refused as refusal:
        raise WeightsError(
            f"{allowance.path}: refused to unpickle {' '.join(str(refusal).split())}: only arrays and plain "
            "containers are read, never code; ask for the file as .safetensors"
        ) from None


def load_paddle(allowance: Allowance) -> Any:
    """Returns the object `paddle.save` wrote (protocols 2 to 5, Paddle 2.x and 3.x), as numpy.

    Paddle stores a tensor as an array or as a pair (name, array), and bfloat16 as uint16, which is
    widened here. Raises as `unpickle`.
    """

    def leaf(value: Any) -> Any:
        if type(value) is tuple and len(value) == 2 and isinstance(value[1], InertArray):
            value = value[1]
        if not isinstance(value, InertArray):
            return value
        if value.value is not None and value.value.dtype == np.uint16:
            allowance.spend(2 * value.value.nbytes)
            return widen_bfloat16(value.value)
        return value.value

    allowance.spend(allowance.path.stat().st_size)
    return unpickle(allowance.path.read_bytes(), allowance, leaf=leaf)
