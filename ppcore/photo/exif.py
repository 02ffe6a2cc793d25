"""EXIF blocks, copied byte for byte, which keeps what no library rewrites faithfully, such as maker notes.

Only the thumbnail is cut off: it would go on showing the photograph as it was.
"""

import struct

from PIL import Image

PREFIX = b"Exif\x00\x00"
_ORIENTATION = 0x0112


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


def orientation_of(image: Image.Image) -> int:
    """EXIF's, or XMP's where there is no EXIF; 1 for a number that means nothing."""
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1
