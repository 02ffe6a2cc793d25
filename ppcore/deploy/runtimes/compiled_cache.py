"""Files of an engine's compiled networks, so that a second start does not compile again."""

import hashlib
import logging
import os
import struct
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ppcore.errors import OutputError
from ppcore.io import write_atomically

log = logging.getLogger("ppcore")

LIMIT = 1 << 30  # bytes that are kept; beyond, what was used longest ago goes
ABANDONED = 86_400.0  # seconds after which a half-written file is that of a process that was killed
MAGIC = b"ppcore compiled\n"
SUFFIX = ".compiled"


class CompiledCache:
    """Entries in the user's cache: `$PP_CACHE_DIR/compiled`, else `$XDG_CACHE_HOME/ppcore/compiled`, else `~/.cache/ppcore/compiled`.

    Not in the exported folder: that stays as it was written and checked, and nobody else's compiled code is run. A file is
    whole or absent, carries the sha256 of its content, and is named by a hash of all that decides it, so several
    processes may read and write at once.
    """

    def __init__(self):
        self.folder = _users() / "compiled"

    def load(self, key: str) -> list[bytes] | None:
        """The parts kept under a key, or None; a damaged file is removed."""
        path = self.folder / (key + SUFFIX)
        try:
            if not _is_ones_own(self.folder):
                return None
            content = path.read_bytes()
        except OSError:
            return None
        parts = _unpack(content)
        if parts is None:
            log.warning("%s: damaged; compiling again", path)
            self.drop(key)
            return None
        with suppress(OSError):
            os.utime(path)  # what is used stays
        return parts

    def drop(self, key: str) -> None:
        """Removes what is kept under a key, where it can be."""
        with suppress(OSError):
            (self.folder / (key + SUFFIX)).unlink()

    def save(self, key: str, parts: Sequence[bytes]) -> Path | None:
        """Keeps parts under a key; returns the folder, or None where it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _is_ones_own(self.folder):
                return None
            write_atomically(self.folder / (key + SUFFIX), lambda temp: _pack(temp, parts))
        except (OSError, OutputError):
            return None
        _shrink(self.folder, LIMIT)
        return self.folder


def _users() -> Path:
    """The suite's folder in the user's cache."""
    if given := os.environ.get("PP_CACHE_DIR"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ppcore"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / f"ppcore-{os.getuid()}"


def _is_ones_own(folder: Path) -> bool:
    """Whether what lies in a folder may be run: it is this user's, or the one that the user has named."""
    return bool(os.environ.get("PP_CACHE_DIR")) or folder.stat().st_uid == os.getuid()


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
    for path in folder.glob(".*.tmp"):  # of `write_atomically`, in a process that was killed
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
