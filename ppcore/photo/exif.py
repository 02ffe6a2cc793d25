"""EXIF blocks, copied byte for byte, which keeps what no library rewrites faithfully, such as maker notes.

Only the thumbnail is cut off, which would go on showing the photograph as it was, and of an enlarged photograph the size is set.
"""

import struct

from PIL import Image

PREFIX = b"Exif\x00\x00"
_ORIENTATION = 0x0112
_DETAILS = 0x8769  # leads to the directory with the camera's entries
_WIDTH, _HEIGHT = (0x0100, 0xA002), (0x0101, 0xA003)
_NUMBERS = {3: "H", 4: "I"}  # kinds of entries: 16 and 32 bits


def exif_without_thumbnail(exif: bytes) -> bytes:
    """An EXIF block (with or without its `Exif` prefix) whose first directory no longer leads to the thumbnail's."""
    start = len(PREFIX) if exif.startswith(PREFIX) else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None or len(exif) < start + 8:
        return exif
    directory = start + struct.unpack_from(order + "I", exif, start + 4)[0]
    if directory + 2 > len(exif):
        return exif
    link = directory + 2 + 12 * struct.unpack_from(order + "H", exif, directory)[0]
    if link + 4 > len(exif):
        return exif
    return exif[:link] + bytes(4) + exif[link + 4 :]


def exif_of_size(exif: bytes, height: int, width: int) -> bytes:
    """An EXIF block in which the size of the stored pixels is this, wherever it says one."""
    start = len(PREFIX) if exif.startswith(PREFIX) else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None or len(exif) < start + 8:
        return exif
    data, directories = bytearray(exif), [struct.unpack_from(order + "I", exif, start + 4)[0]]
    for directory in directories:
        if len(directories) > 2 or start + directory + 2 > len(data):
            break
        count = struct.unpack_from(order + "H", data, start + directory)[0]
        for entry in range(start + directory + 2, start + directory + 2 + 12 * count, 12):
            if entry + 12 > len(data):
                break
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            if tag == _DETAILS:
                directories.append(struct.unpack_from(order + "I", data, entry + 8)[0])
            elif tag in (*_WIDTH, *_HEIGHT) and kind in _NUMBERS and number == 1:
                value = width if tag in _WIDTH else height
                struct.pack_into(order + _NUMBERS[kind], data, entry + 8, min(value, 65535) if kind == 3 else value)
    return bytes(data)


def orientation_of(image: Image.Image) -> int:
    """EXIF's, or XMP's where there is no EXIF; 1 for a number that means nothing."""
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1
