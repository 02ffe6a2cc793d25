"""What an image file says beside its pixels, copied byte for byte: JPEG segments, PNG chunks, EXIF.

Copying the bytes keeps what no library rewrites faithfully (maker notes, extended XMP, colour chunks).
Only the EXIF thumbnail is cut off: it would go on showing the photograph as it was.
"""

import struct
import zlib

_PNG_HEAD = 33  # signature and IHDR
# Colour, density, EXIF, texts and date; whatever depends on palette or bit depth is left behind.
_PNG_KEPT = (b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME")  # fmt: skip
_EXIF = b"Exif\x00\x00"
_ICC = b"ICC_PROFILE\x00"


def exif_without_thumbnail(exif: bytes) -> bytes:
    """An EXIF block (with or without its `Exif` prefix) whose first directory no longer leads to the thumbnail's."""
    start = len(_EXIF) if exif.startswith(_EXIF) else 0
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


def jpeg_metadata(data: bytes, *, profile: bool = True) -> bytes:
    """The segments of a JPEG file that hold EXIF, XMP, the ICC profile, IPTC and comments.

    Args:
        data: the file.
        profile: whether the ICC profile is wanted (it does not survive a change of colour space).
    """
    kept, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA or end > len(data):  # the scan begins
            break
        segment = data[position:end]
        content = segment[4:]
        if marker == 0xE1 and content.startswith(_EXIF):
            kept.append(segment[:4] + exif_without_thumbnail(content))
        elif marker in (0xE1, 0xED, 0xFE) or (marker == 0xE2 and profile and content.startswith(_ICC)):
            kept.append(segment)
        position = end
    return b"".join(kept)


def into_jpeg(data: bytes, metadata: bytes) -> bytes:
    """A JPEG file with `jpeg_metadata` of another after its JFIF header."""
    position = 2
    if data[2:4] == b"\xff\xe0":
        position += 2 + int.from_bytes(data[4:6], "big")
    return data[:position] + metadata + data[position:]


def png_metadata(data: bytes) -> bytes:
    """The chunks of a PNG file that say something of the whole picture, wherever they stand in it."""
    kept, position = [], 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        if kind in _PNG_KEPT and len(content) == length:
            if kind == b"eXIf":
                content = exif_without_thumbnail(content)
            kept.append(struct.pack(">I4s", length, kind) + content + struct.pack(">I", zlib.crc32(kind + content)))
        position += 12 + length
    return b"".join(kept)


def into_png(data: bytes, metadata: bytes) -> bytes:
    """A PNG file with `png_metadata` of another after its header."""
    return data[:_PNG_HEAD] + metadata + data[_PNG_HEAD:]
