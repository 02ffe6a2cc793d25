"""Decoded images kept in a folder, so that a window of a 4K PNG costs milliseconds instead of its decoding."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ppcore.errors import DataError, OutputError
from ppcore.io import sha256, write_atomically


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
        entry = os.path.join(folder, sha256(os.fsencode(key))[:32] + ".npy")
        if not os.path.exists(entry):
            os.makedirs(folder, exist_ok=True)
            pixels = np.ascontiguousarray(decode())
            write_atomically(entry, lambda temp: _save(temp, pixels))
        return np.load(entry, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OutputError) as error:
        raise DataError(f"cannot use the cache {folder} for {path}: {error}; empty it or set cache: null") from None


def _save(path: Path, pixels: np.ndarray) -> None:
    with path.open("wb") as file:  # by its name numpy would add a suffix
        np.save(file, pixels, allow_pickle=False)
