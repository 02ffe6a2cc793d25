"""Files that are whole or absent, and what they are known by: atomic writing, JSON, sha256."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppcore.errors import OutputError, reason


def sha256(content: Path | bytes) -> str:
    """Hexadecimal digest of a file's content, or of bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_folder(path: Path) -> None:
    """Whether `path` could be a file: its folder is there, and its name is not too long.

    Raises:
        OutputError: it could not.
        OSError: it could not, for the reason it gives.
    """
    if not path.parent.is_dir():
        lacking = "is not a folder" if path.parent.exists() else "does not exist"
        raise OutputError(f"cannot write {path}: the folder {path.parent} {lacking}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    with contextlib.suppress(FileNotFoundError):
        path.lstat()


def write_atomically(path: str | os.PathLike, write: Callable[[Path], Any]) -> None:
    """Calls `write(temp)` with a path beside `path`, syncs it to disk and renames it to `path`.

    Raises:
        OutputError: the folder is missing, it may not be written, the disk is full, …: the path and the
            reason. Nothing is left beside `path`, and what was there is as it was.
    """
    path = Path(path)
    temp = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    try:
        check_folder(path)
        try:
            write(temp)
            with temp.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)  # the rename itself lives in the folder
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically.

    Raises:
        OutputError: as `write_atomically`.
    """
    write_atomically(path, lambda temp: temp.write_text(json.dumps(content, indent=1) + "\n"))
