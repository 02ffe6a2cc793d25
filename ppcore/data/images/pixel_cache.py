"""Decoded images kept in a folder, so that a window of a 4K PNG costs milliseconds instead of its decoding."""

import hashlib
import os
import tempfile
from collections.abc import Callable

import numpy as np

from ppcore.errors import DataError


def cached_pixels(path: str, folder: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
    """The decoded pixels of a file, mapped from the cache; decoded into it the first time.

    The entry is named after the file's path, size and time of change, so a changed file is decoded
    anew. Nothing is ever removed: the folder may be deleted at any time. An entry appears whole or not at
    all, so many processes may share the folder.

    Args:
        path: the image file.
        folder: of the cache; made when missing.
        decode: gives the file's pixels.

    Returns:
        A read-only array on the entry.

    Raises:
        DataError: the image file or the cache cannot be read or written.
    """
    try:
        stat = os.stat(path)
        key = f"{os.path.abspath(path)}\0{stat.st_size}\0{stat.st_mtime_ns}"
        entry = os.path.join(folder, hashlib.sha256(os.fsencode(key)).hexdigest()[:32] + ".npy")
        if not os.path.exists(entry):
            _write(entry, decode())
        return np.load(entry, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot use the cache {folder} for {path}: {error}; empty it or set cache: null") from None


def _write(entry: str, pixels: np.ndarray) -> None:
    folder = os.path.dirname(entry)
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        try:
            np.save(file, np.ascontiguousarray(pixels), allow_pickle=False)
            file.flush()
            os.replace(file.name, entry)
        except BaseException:
            os.unlink(file.name)
            raise
