"""Reads what torch.save writes, without torch and without running anything (see `safe_unpickle`).

The file is a zip archive: a pickle that describes tensors (storage, offset, size, stride), and one
part with the raw bytes of every storage. Tensors are rebuilt from their storages with numpy.
"""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ppcore.errors import WeightsError
from ppcore.safe_unpickle import InertArray, Refused, inert_globals, unpickle, widen_bfloat16

# Storage class in the pickle -> numpy dtype of its raw bytes (bfloat16 is widened afterwards).
_STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
# An expanded tensor (stride 0) may be larger than its storage; past this it is a bomb.
_MAX_ELEMENTS = 2**31


def load_torch(path: Path) -> Any:
    """Returns the object `torch.save` wrote in its zip format (torch >= 1.6), tensors as numpy.

    Raises:
        WeightsError: another container, a name outside the table, a tensor outside its storage.
        Exception: any other, for damaged bytes (see `safe_unpickle.unpickle`).
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path}: not a zip-format PyTorch file (legacy tar/pickle files, from torch < 1.6, "
            "are not read: save it again with a current torch, or as .safetensors)"
        )
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")]
        if len(roots) != 1 or any("/constants.pkl" in name for name in names):
            raise WeightsError(f"{path}: not a torch.save file (a TorchScript archive?)")
        reader = _TorchReader(archive, roots[0], path)
        return unpickle(reader.stream(), path, reader.table(), reader.load_storage)


class _Storage:
    """The flat values behind tensors, out of the pickle's reach like every array."""

    __slots__ = ("flat",)

    def __init__(self, flat: np.ndarray):
        self.flat = flat


class _TorchReader:
    """Rebuilds the tensors of one torch archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path):
        self._archive, self._root, self._path = archive, root, path
        self._cache: dict[str, _Storage] = {}
        order = root + "byteorder"
        little = order not in archive.namelist() or self._member("byteorder").strip() == b"little"
        self._order = "<" if little else ">"

    def _member(self, name: str) -> bytes:
        return self._archive.read(self._root + name)

    def stream(self) -> io.BytesIO:
        """The pickle itself."""
        return io.BytesIO(self._member("data.pkl"))

    def table(self) -> dict[tuple[str, str], Any]:
        """Names a torch pickle may use."""

        def rebuild(storage, offset, size, stride, *ignored):
            return InertArray(self._tensor(storage.flat, offset, size, stride))

        def parameter(data, *ignored):
            return data

        def size(dims=()):
            return tuple(dims)

        table = inert_globals() | {
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch._utils", "_rebuild_tensor"): rebuild,
            ("torch._utils", "_rebuild_parameter"): parameter,
            ("torch", "Size"): size,
        }
        return table | {("torch", name): kind for name, kind in _STORAGES.items()}

    def load_storage(self, pid: Any) -> _Storage:
        """Returns the values of `('storage', type, key, location, numel)`."""
        tag, kind, key, _, numel = pid
        if tag != "storage" or kind not in _STORAGES.values():
            raise Refused(f"a persistent object {tag!r} of type {kind!r}")
        if key not in self._cache:
            data = self._member(f"data/{key}")
            raw = np.dtype("u2" if kind == "bf16" else kind).newbyteorder(self._order)
            flat = np.frombuffer(data, raw).astype(raw.newbyteorder("="))
            if flat.size != numel:
                raise WeightsError(f"{self._path}: storage {key} holds {flat.size} values, not {numel}")
            self._cache[key] = _Storage(widen_bfloat16(flat) if kind == "bf16" else flat)
        return self._cache[key]

    def _tensor(self, flat: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
        if not isinstance(flat, np.ndarray) or len(size) != len(stride):
            raise WeightsError(f"{self._path}: a tensor with {len(size)} sizes is malformed")
        count = math.prod(size)
        # numpy's strided view trusts its caller, so the bounds are checked here.
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        inside = min((offset, *size, *stride)) >= 0 and (count == 0 or last < flat.size)
        if not inside or count > _MAX_ELEMENTS:
            raise WeightsError(f"{self._path}: a tensor of shape {tuple(size)} reaches outside its storage")
        if count == 0:
            return np.empty(size, flat.dtype)
        bytes_ = tuple(s * flat.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, bytes_).copy()
