"""How much memory reading a file may take: a small multiple of its size.

Files of strangers state sizes, repeat what they hold and unpack into far more. Whoever reads one says
what it is about to allocate, before it does.
"""

import zipfile
from pathlib import Path

from ppcore.errors import WeightsError

# The most that our formats need: bfloat16 is read (1), widened (2), cut into tensors (2) and named (2).
_TIMES = 8
_BESIDES = 64 * 2**20


class Allowance:
    """The bytes that reading one file may allocate, counted as they are asked for and never given back.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.total = self.left = _BESIDES + _TIMES * path.stat().st_size

    def spend(self, size: int) -> None:
        """Takes `size` bytes off what is left.

        Raises:
            WeightsError: there are not that many.
        """
        self.left -= size
        if self.left < 0:
            raise WeightsError(
                f"{self.path}: refused: reading it takes more than {self.total // 2**20} MiB of memory "
                f"({_TIMES} times its size and {_BESIDES // 2**20} MiB), which weights do not: ask for it as .safetensors"
            )


class Archive:
    """The members of a zip archive, read whole and within an `Allowance`.

    Args:
        path: the file.
        allowance: what its members may take.
    """

    def __init__(self, path: Path, allowance: Allowance):
        self._path, self._allowance = path, allowance
        self._zip = zipfile.ZipFile(path)
        self.names = frozenset(self._zip.namelist())

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._zip.close()

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            WeightsError: it is larger than it may be, or compressed otherwise than by deflate.
            Exception: any other, for damaged bytes.
        """
        member = self._zip.getinfo(name)
        # bzip2 and LZMA allocate what the member asks for; no one writes weights with them.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(f"{self._path}: its member {name!r} is neither stored nor deflated")
        if member.compress_size > self._path.stat().st_size:
            raise WeightsError(f"{self._path}: its member {name!r} claims more bytes than the file has")
        self._allowance.spend(member.file_size)
        with self._zip.open(member) as file:
            data = file.read(member.file_size)  # without the number it inflates without end
        if len(data) != member.file_size:
            raise WeightsError(f"{self._path}: its member {name!r} is cut short")
        return data
