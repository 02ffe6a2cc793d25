"""Pickles and torch.save files opcode by opcode, so that no torch is needed and any of them can lie."""

import struct
import zipfile
from pathlib import Path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integers(values) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"


def tensor(kind: str, key: str, numel: int, offset: int, size, stride) -> bytes:
    """Pickle opcodes of one tensor as torch.save writes them, so that no torch is needed here."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    storage += b"J" + struct.pack("<i", numel) + b"tQ"
    rest = b"J" + struct.pack("<i", offset) + integers(size) + integers(stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"\x89ccollections\nOrderedDict\n)RtR"


def dictionary(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def torch_file(
    path: Path,
    content: bytes,
    storages: dict[str, bytes],
    order: bytes = b"little",
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + content + b".")
        archive.writestr("archive/byteorder", order)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path
