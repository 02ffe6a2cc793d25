"""Files of an engine's compiled networks, so that a second start does not compile again."""

import hashlib
import logging
import os
import struct
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ppcore.errors import OutputError
from ppcore.io import write_atomically

log = logging.getLogger("ppcore")

LIMIT = 1 << 30  # bytes that one folder holds; beyond, what was used longest ago goes
MAGIC = b"ppcore compiled\n"
SUFFIX = ".compiled"


class CompiledCache:
    """Entries of one export: in its own folder, or in the user's cache when that cannot be written.

    A file is whole or absent, carries the sha256 of its content, and is named by a hash of all that decides it, so several
    processes may read and write at once.

    Args:
        export: the exported folder.
    """

    def __init__(self, export: Path):
        self.folders = [export / "compiled", _users(export)]

    def load(self, key: str) -> list[bytes] | None:
        """The parts kept under a key, or None; a damaged file is removed."""
        for folder in self.folders:
            path = folder / (key + SUFFIX)
            try:
                content = path.read_bytes()
            except OSError:
                continue
            parts = _unpack(content)
            if parts is not None:
                with suppress(OSError):
                    os.utime(path)  # what is used stays
                return parts
            log.warning("%s: damaged; compiling again", path)
            self.drop(key)
        return None

    def drop(self, key: str) -> None:
        """Removes what is kept under a key, where it can be."""
        for folder in self.folders:
            with suppress(OSError):
                (folder / (key + SUFFIX)).unlink()

    def save(self, key: str, parts: Sequence[bytes]) -> Path | None:
        """Keeps parts under a key; returns the folder, or None where nothing can be written."""
        for folder in self.folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / (key + SUFFIX), lambda temp: _pack(temp, parts))
            except (OSError, OutputError):
                continue
            _shrink(folder, LIMIT)
            return folder
        return None


def _users(export: Path) -> Path:
    """The folder of an export in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        root = Path(root).expanduser()
    except RuntimeError:  # a user without a home
        root = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return root / "ppcore" / hashlib.sha256(str(export.resolve()).encode()).hexdigest()[:16]


def _pack(path: Path, parts: Sequence[bytes]) -> None:
    lengths = struct.pack(f"<I{len(parts)}Q", len(parts), *(len(part) for part in parts))
    digest = hashlib.sha256(lengths)
    for part in parts:
        digest.update(part)
    with path.open("wb") as file:
        for piece in (MAGIC, digest.digest(), lengths, *parts):
            file.write(piece)


def _unpack(content: bytes) -> list[bytes] | None:
    """The parts of a file's content, or None if it is not as it was written."""
    begin = len(MAGIC) + 32
    view = memoryview(content)
    if view[: len(MAGIC)] != MAGIC or hashlib.sha256(view[begin:]).digest() != view[len(MAGIC) : begin]:
        return None
    (number,) = struct.unpack_from("<I", view, begin)
    lengths = struct.unpack_from(f"<{number}Q", view, begin + 4)
    parts, begin = [], begin + 4 + 8 * number
    for length in lengths:
        parts.append(bytes(view[begin : begin + length]))
        begin += length
    return parts


def _shrink(folder: Path, limit: int) -> None:
    """Removes the files used longest ago, until the rest is within the limit. The newest stays."""
    found = []
    for path in folder.glob("*" + SUFFIX):
        with suppress(OSError):  # another process may have removed it
            about = path.stat()
            found.append((about.st_mtime_ns, about.st_size, path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if number and total > limit:
            with suppress(OSError):
                path.unlink()
