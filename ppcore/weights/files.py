"""Reading and writing files of named arrays: .safetensors, .pdparams, .npz, .pt/.pth/.bin; reading .h5.

`read` runs no code of the file (see `ppcore.weights.pickles`), takes memory of a small multiple of its
size (`ppcore.weights.limits`) and widens half precision to float32, which is exact.
"""

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ppcore.errors import WeightsError, nearest
from ppcore.io import write_atomically
from ppcore.weights.hdf5 import load_hdf5
from ppcore.weights.inert import widen_bfloat16
from ppcore.weights.limits import Allowance, Archive
from ppcore.weights.pickles import load_paddle
from ppcore.weights.torch_file import load_torch

Arrays = dict[str, np.ndarray]
TORCH_SUFFIXES = (".pt", ".pth", ".bin")
SUFFIXES = (".safetensors", ".pdparams", ".npz", ".h5", *TORCH_SUFFIXES)

_DESCRIBED = 25  # bytes of memory a byte of a .safetensors header, measured
_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bf16", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read(path: str | os.PathLike, key: str | None = None, notes: list[str] | None = None) -> Arrays:
    """Returns the named arrays of a weight file; float16 and bfloat16 come back as float32.

    Args:
        path: a file of one of `SUFFIXES`; the suffix says the format.
        key: the entry of a training checkpoint to take (`model`, `model_ema`, …); by default
            the file itself if it is a flat dictionary, else the only entry that holds arrays.
        notes: what was chosen is added here, in words: the entry, prefixes that were taken off the names.

    Raises:
        WeightsError: unknown suffix, unreadable or unsafe file, more memory than a file of weights of this
            size takes, no arrays, no such `key`, or several entries and no `key`.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: unknown weight format; use one of {' '.join(SUFFIXES)}")
    try:
        if not path.is_file():
            raise WeightsError(f"{path}: no such weight file")
        allowance = Allowance(path)
        content = _READERS[path.suffix](allowance)
    except WeightsError:
        raise
    # Parsers meet damaged bytes with every kind of exception; for the user they mean one thing.
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise WeightsError(f"{path}: not a readable {path.suffix} file ({said})") from error
    arrays = _flat(content, key, path, [] if notes is None else notes)
    # One array may go by many names, each of which is widened, converted and loaded on its own.
    allowance.spend(sum(array.nbytes * (2 if array.dtype == np.float16 else 1) for array in arrays.values()))
    return {name: _widen(array, name, path) for name, array in arrays.items()}


def metadata(path: str | os.PathLike) -> dict[str, str]:
    """Returns the text metadata of a .safetensors file that `read` accepts ({} for other formats)."""
    if Path(path).suffix != ".safetensors":
        return {}
    with safetensors.safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def save_arrays(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes named arrays as .safetensors (with `metadata`) or .npz, atomically.

    Raises:
        WeightsError: another suffix.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        # safetensors writes memory order: a transposed view must be laid out first.
        dense = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
        data = safetensors.numpy.save(dense, metadata=dict(metadata) if metadata else None)
        write_atomically(path, lambda temp: temp.write_bytes(data))
    elif path.suffix == ".npz":

        def write(temp: Path) -> None:
            # numpy's own writer (1.26) leaves its archive open when the disk is full, to fail again later.
            with zipfile.ZipFile(temp, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

        write_atomically(path, write)
    else:
        raise WeightsError(f"{path}: arrays are written as .safetensors or .npz")


def _read_safetensors(allowance: Allowance) -> Arrays:
    # safetensors.numpy knows no bfloat16, so the raw bytes are taken and typed here.
    arrays = {}
    # The library sees to it that tensors share no bytes; what becomes of their descriptions is counted here.
    with allowance.path.open("rb") as file:
        allowance.spend(_DESCRIBED * min(int.from_bytes(file.read(8), "little"), allowance.path.stat().st_size))
    for name, entry in safetensors.deserialize(allowance.path.read_bytes()):
        kind = _SAFETENSORS_DTYPES.get(entry["dtype"])
        if kind is None:
            raise WeightsError(f"{allowance.path}: {name} has dtype {entry['dtype']}, which is not read")
        raw = np.frombuffer(entry["data"], "<u2" if kind == "bf16" else kind)
        values = widen_bfloat16(raw) if kind == "bf16" else raw.copy()
        arrays[name] = values.reshape(entry["shape"])
    return arrays


def _read_npz(allowance: Allowance) -> Arrays:
    with Archive(allowance.path, allowance) as archive:
        return {name.removesuffix(".npy"): _npy(archive.read(name), name, allowance) for name in archive.names}


def _npy(data: bytes, name: str, allowance: Allowance) -> np.ndarray:
    """The array of a .npy file. (numpy's own reader allocates what the header claims before it looks.)"""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise WeightsError(f"{allowance.path}: {name} is .npy version {version}, for which there are no plain numbers")
    shape, fortran, dtype = _NPY_HEADERS[version](stream)
    if dtype.hasobject or dtype.itemsize == 0:
        raise WeightsError(f"{allowance.path}: {name} holds {dtype}, not numbers")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > len(data) - stream.tell():
        raise WeightsError(f"{allowance.path}: {name} claims the shape {shape}, but its data end before")
    # numpy has no bfloat16: JAX's arrays come back as 2-byte void.
    half = dtype == "V2"
    allowance.spend(count * dtype.itemsize * (2 if half else 1))
    flat = np.frombuffer(data, np.uint16 if half else dtype, count, stream.tell())
    flat = widen_bfloat16(flat) if half else flat.astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_READERS = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pdparams": load_paddle,
    ".h5": load_hdf5,
    **dict.fromkeys(TORCH_SUFFIXES, load_torch),
}


def _flat(content: Any, key: str | None, path: Path, notes: list[str]) -> Arrays:
    """Returns the one flat dictionary of arrays to use, descending into `key` or the only entry that holds some."""
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not named arrays")
    nested = [k for k, v in content.items() if _holds_arrays(v)]
    names = ", ".join(repr(k)[:80] for k in nested)
    beneath = {name: array for name, array in content.items() if key is not None and str(name).startswith(f"{key}/")}
    if key is not None and key not in nested and beneath:  # a file of several networks: KEY/name
        content = {key: {name.removeprefix(f"{key}/"): array for name, array in beneath.items()}}
        nested = [key]
    if key is not None:
        if key not in nested:
            raise WeightsError(
                f"{path}: no weights under {key!r}{nearest(key, filter(str.isprintable, map(str, nested)))}; "
                f"it has {names or 'none nested'}"
            )
        content = content[key]
    elif not any(isinstance(v, np.ndarray) for v in content.values()):
        if not nested:
            raise WeightsError(f"{path}: no named arrays at the top level, and none nested")
        if len(nested) > 1:
            raise WeightsError(f"{path}: holds weights under {names}: say which to take with --key (or `key:`)")
        key = nested[0]
        content = content[key]
    if key is not None:
        notes.append(f"weights taken from the file's entry {key!r:.80}")
    return _without_wrappers({str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}, notes)


# What wrappers of a network put before all its names: torch's and Paddle's DataParallel, torch.compile.
_WRAPPERS = ("module.", "_layers.", "_orig_mod.")


def _without_wrappers(arrays: Arrays, notes: list[str]) -> Arrays:
    while arrays and (found := [one for one in _WRAPPERS if all(name.startswith(one) for name in arrays)]):
        notes.append(f"every name began with {found[0]!r}, which a wrapper of the network left there")
        arrays = {name.removeprefix(found[0]): array for name, array in arrays.items()}
    return arrays


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, np.ndarray) for v in value.values())


def _widen(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if not name.isprintable():  # it would be printed
        raise WeightsError(f"{path}: the name of an array is not text: {name[:100]!r}")
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise WeightsError(f"{path}: {name} has dtype {array.dtype}, which is not a number")
    return array
