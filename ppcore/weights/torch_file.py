"""Reads what torch.save writes, without torch and without running anything (see `ppcore.weights.pickles`).

The file is a zip archive: a pickle that describes tensors (storage, offset, size, stride), and one
part with the raw bytes of every storage. Tensors are rebuilt from their storages with numpy.
"""

import math
import zipfile
from typing import Any

import numpy as np

from ppcore.errors import WeightsError
from ppcore.weights.inert import Function, InertArray, Refused, inert_globals, shown, whole_numbers, widen_bfloat16
from ppcore.weights.limits import Allowance, Archive
from ppcore.weights.pickles import unpickle

# Storage class in the pickle -> numpy dtype of its raw bytes (bfloat16 is widened afterwards).
_STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


def load_torch(allowance: Allowance) -> Any:
    """Returns the object `torch.save` wrote in its zip format (torch >= 1.6), tensors as numpy.

    Args:
        allowance: of the file.

    Raises:
        WeightsError: another container, a name outside the table, a tensor outside its storage, too much memory.
        Exception: any other, for damaged bytes (see `ppcore.weights.pickles.unpickle`).
    """
    path = allowance.path
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path}: not a zip-format PyTorch file (legacy tar/pickle files, from torch < 1.6, "
            "are not read: save it again with a current torch, or as .safetensors)"
        )
    with Archive(path, allowance) as archive:
        roots = [name.removesuffix("data.pkl") for name in archive.names if name.endswith("data.pkl")]
        if len(roots) != 1 or any("/constants.pkl" in name for name in archive.names):
            raise WeightsError(f"{path}: not a torch.save file (a TorchScript archive?)")
        reader = _TorchReader(archive, roots[0], allowance)
        data = archive.read(roots[0] + "data.pkl")
        return unpickle(data, allowance, table=reader.table(), load_storage=reader.load_storage)


class _Storage:
    """The flat values behind tensors."""

    __slots__ = ("flat",)

    def __init__(self, flat: np.ndarray):
        self.flat = flat


class _TorchReader:
    """Rebuilds the tensors of one torch archive."""

    def __init__(self, archive: Archive, root: str, allowance: Allowance):
        self._archive, self._root, self._allowance = archive, root, allowance
        self._cache: dict[str, _Storage] = {}
        order = root + "byteorder"
        little = order not in archive.names or archive.read(order).strip() == b"little"
        self._order = "<" if little else ">"

    def table(self) -> dict[tuple[str, str], Any]:
        """Names a torch pickle may use."""
        allowance = self._allowance

        def rebuild(storage: Any, offset: Any, size: Any, stride: Any, *ignored: Any) -> InertArray:
            return InertArray(allowance, self._tensor(storage, offset, size, stride))

        table = inert_globals(allowance) | {
            ("torch._utils", "_rebuild_tensor_v2"): Function(rebuild),
            ("torch._utils", "_rebuild_tensor"): Function(rebuild),
            ("torch._utils", "_rebuild_parameter"): Function(lambda data, *ignored: data),
            ("torch", "Size"): Function(lambda dims=(): whole_numbers(dims)),
        }
        return table | {("torch", name): kind for name, kind in _STORAGES.items()}

    def load_storage(self, pid: Any) -> _Storage:
        """Returns the values of `('storage', type, key, location, numel)`."""
        tag, kind, key, _, numel = pid
        if tag != "storage" or kind not in _STORAGES.values() or not isinstance(key, str):
            raise Refused(f"a persistent object {shown(tag)} of type {shown(kind)}")
        if key not in self._cache:
            data = self._archive.read(f"{self._root}data/{key}")
            raw = np.dtype("u2" if kind == "bf16" else kind).newbyteorder(self._order)
            flat = np.frombuffer(data, raw)
            if flat.size != numel:
                raise WeightsError(
                    f"{self._allowance.path}: storage {key} holds {flat.size} values, not {shown(numel)}"
                )
            if not raw.isnative:
                self._allowance.spend(flat.nbytes)
                flat = flat.astype(raw.newbyteorder("="))
            if kind == "bf16":
                self._allowance.spend(2 * flat.nbytes)
                flat = widen_bfloat16(flat)
            self._cache[key] = _Storage(flat)
        return self._cache[key]

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
        size, stride, (offset,) = whole_numbers(size), whole_numbers(stride), whole_numbers((offset,))
        if not isinstance(storage, _Storage) or len(size) != len(stride):
            raise WeightsError(f"{self._allowance.path}: a tensor with {len(size)} sizes is malformed")
        flat, count = storage.flat, math.prod(size)
        # numpy's strided view trusts its caller, so the bounds are checked here.
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        inside = min((offset, *size, *stride)) >= 0 and (count == 0 or last < flat.size)
        if not inside:
            raise WeightsError(f"{self._allowance.path}: a tensor of shape {size} reaches outside its storage")
        if count == 0:
            return np.empty(size, flat.dtype)
        # Tensors may share a storage, and one with stride 0 is larger than its own.
        self._allowance.spend(count * flat.itemsize)
        bytes_ = tuple(s * flat.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, bytes_).copy()
