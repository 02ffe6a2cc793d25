"""Reads numpy arrays out of Paddle and PyTorch pickles without running what they ask to run.

A pickle is a program: it may name any importable callable and call it. Here every name it
gives is looked up in a short table of inert stand-ins; anything else is refused by name.
PyTorch tensors are rebuilt from their storages with numpy, so torch is not needed.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppcore.errors import WeightsError

# Storage class in the pickle -> numpy dtype of its raw bytes (bfloat16 is widened afterwards).
_STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
# An expanded tensor (stride 0) may be larger than its storage; past this it is a bomb.
_MAX_ELEMENTS = 2**31


class _Refused(Exception):
    """The pickle names something outside the table."""


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Returns the float32 array whose upper 16 bits are `bits` (uint16): exact, any shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    # Protocol-2 pickles write bytes as _codecs.encode(text, "latin1"); no other codec is needed.
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _numpy_scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _reconstruct(kind: type, shape: tuple, code: bytes) -> np.ndarray:
    if kind is not np.ndarray:
        raise _Refused(f"an array of type {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _numpy_globals() -> dict[tuple[str, str], Any]:
    """Names any of these files may use.

    A pickle may set attributes on whatever Python object it is given, so functions and classes
    of ours are wrapped or made afresh for each file; numpy's and Python's own refuse it.
    """

    class Namespace:
        """Stands for argparse.Namespace: training scripts keep their options beside the weights."""

    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("builtins", "tuple"): tuple,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): partial(_latin1),
        ("argparse", "Namespace"): Namespace,
    }
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2 spell it differently
        table[f"{core}.multiarray", "_reconstruct"] = partial(_reconstruct)
        table[f"{core}.multiarray", "scalar"] = partial(_numpy_scalar)
        table[f"{core}.numeric", "_frombuffer"] = partial(_from_buffer)
    return table


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, table: dict, load_storage: Callable | None = None):
        super().__init__(stream)
        self._table = table
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._table[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load_storage is None:
            raise _Refused(f"a persistent object {pid!r}")
        return self._load_storage(pid)


def _run(unpickler: _Unpickler, path: Path) -> Any:
    try:
        return unpickler.load()
    except _Refused as refusal:
        raise WeightsError(
            f"{path}: refused to unpickle {refusal}: only arrays and plain containers are read, "
            "never code; ask for the file as .safetensors"
        ) from None
    except WeightsError:
        raise
    # A broken or hostile pickle can fail in any way its opcodes allow: all mean one thing here.
    except Exception as error:
        raise WeightsError(
            f"{path}: not a readable pickle ({type(error).__name__}: {error})"
        ) from error


def load_paddle(path: Path) -> Any:
    """Returns the object `paddle.save` wrote (protocols 2 to 5, Paddle 2.x and 3.x), as numpy.

    Paddle stores bfloat16 as uint16; the caller widens it. Raises WeightsError.
    """
    return _run(_Unpickler(io.BytesIO(path.read_bytes()), _numpy_globals()), path)


def load_torch(path: Path) -> Any:
    """Returns the object `torch.save` wrote in its zip format (torch >= 1.6), tensors as numpy.

    Raises WeightsError for other containers, for names outside the table, for damaged storages.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path}: not a zip-format PyTorch file (legacy tar/pickle files, from torch < 1.6, "
            "are not read: save it again with a current torch, or as .safetensors)"
        )
    with zipfile.ZipFile(path) as archive:
        roots = [n.removesuffix("data.pkl") for n in archive.namelist() if n.endswith("data.pkl")]
        if len(roots) != 1 or any("/constants.pkl" in n for n in archive.namelist()):
            raise WeightsError(f"{path}: not a torch.save file (a TorchScript archive?)")
        reader = _TorchReader(archive, roots[0], path)
        stream = io.BytesIO(archive.read(roots[0] + "data.pkl"))
        return _run(_Unpickler(stream, reader.table(), reader.load_storage), path)


class _TorchReader:
    """Rebuilds the tensors of one torch archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path):
        self._archive, self._root, self._path = archive, root, path
        self._cache: dict[str, np.ndarray] = {}
        order = root + "byteorder"
        little = order not in archive.namelist() or archive.read(order).strip() == b"little"
        self._order = "<" if little else ">"

    def table(self) -> dict[tuple[str, str], Any]:
        """Names a torch pickle may use."""

        def rebuild(storage, offset, size, stride, *ignored):
            return self._tensor(storage, offset, size, stride)

        def parameter(data, *ignored):
            return data

        def size(dims=()):
            return tuple(dims)

        table = _numpy_globals() | {
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch._utils", "_rebuild_tensor"): rebuild,
            ("torch._utils", "_rebuild_parameter"): parameter,
            ("torch", "Size"): size,
        }
        return table | {("torch", name): kind for name, kind in _STORAGES.items()}

    def load_storage(self, pid: Any) -> np.ndarray:
        """Returns the flat array of `('storage', type, key, location, numel)`."""
        tag, kind, key, _, numel = pid
        if tag != "storage" or kind not in _STORAGES.values():
            raise _Refused(f"a persistent object {tag!r} of type {kind!r}")
        if key not in self._cache:
            data = self._archive.read(f"{self._root}data/{key}")
            raw = np.dtype("u2" if kind == "bf16" else kind).newbyteorder(self._order)
            flat = np.frombuffer(data, raw).astype(raw.newbyteorder("="))
            if flat.size != numel:
                raise WeightsError(
                    f"{self._path}: storage {key} holds {flat.size} values, not {numel}"
                )
            self._cache[key] = widen_bfloat16(flat) if kind == "bf16" else flat
        return self._cache[key]

    def _tensor(self, flat: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
        if not isinstance(flat, np.ndarray) or len(size) != len(stride):
            raise WeightsError(f"{self._path}: a tensor with {len(size)} sizes is malformed")
        count = math.prod(size)
        # numpy's strided view trusts its caller, so the bounds are checked here.
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        inside = min((offset, *size, *stride)) >= 0 and (count == 0 or last < flat.size)
        if not inside or count > _MAX_ELEMENTS:
            raise WeightsError(
                f"{self._path}: a tensor of shape {tuple(size)} reaches outside its storage"
            )
        if count == 0:
            return np.empty(size, flat.dtype)
        bytes_ = tuple(s * flat.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, bytes_).copy()
