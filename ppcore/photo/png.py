"""PNG of 8 and 16 bits, and GIF of one picture, which is written as PNG. Chunks on the whole picture are copied."""

import struct
import zlib

import cv2
import numpy as np

from ppcore.data.images.orientation import upright
from ppcore.data.images.samples16 import png16
from ppcore.photo.exif import exif_of_size, exif_without_thumbnail, orientation_of
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.pillow_images import opened, photograph_of, saved

_HEAD = 33  # bytes of signature and IHDR
# Colour, density, EXIF, texts and date; whatever depends on palette or bit depth is left behind.
_KEPT = (b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME")  # fmt: skip


def read(data: bytes, name: str) -> Photograph:
    """A PNG or GIF file; the metadata is the chunks."""
    with opened(data, name) as image:
        if image.format == "GIF":
            image.load()
            return photograph_of(image, "PNG", name, b"", ["GIF written as PNG"])
        if data[24] != 16:
            image.load()
            return photograph_of(image, "PNG", name, png_metadata(data), [])
        pixels, alpha = png16(data, name)
        orientation = orientation_of(image)
        alpha = None if alpha is None else upright(alpha, orientation)
        return Photograph(upright(pixels, orientation), alpha, "PNG", orientation, png_metadata(data))


def encode(photo: Photograph, quality: int) -> bytes:
    """A PNG file; `quality` is of no account."""
    samples = photo.samples()
    data = _encode16(samples) if photo.bits == 16 else saved(samples, "PNG")
    return data[:_HEAD] + photo.metadata + data[_HEAD:]


def _encode16(samples: np.ndarray) -> bytes:
    """OpenCV knows no grey with alpha: that is written as RGB with alpha."""
    if samples.shape[2] == 2:
        samples = samples[:, :, [0, 0, 0, 1]]
    elif samples.shape[2] == 3:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR)
    elif samples.shape[2] == 4:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(".png", samples)[1].tobytes()


def png_metadata(data: bytes) -> bytes:
    """The chunks of a PNG file that say something of the whole picture, wherever they stand in it."""
    kept, position = [], 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        if kind in _KEPT and len(content) == length:
            if kind == b"eXIf":
                content = exif_without_thumbnail(content)
            kept.append(struct.pack(">I4s", length, kind) + content + struct.pack(">I", zlib.crc32(kind + content)))
        position += 12 + length
    return b"".join(kept)


def resized(metadata: bytes, height: int, width: int) -> bytes:
    """The chunks of `png_metadata` for another size: EXIF says it."""
    kept, position = [], 0
    while position < len(metadata):
        length, kind = struct.unpack_from(">I4s", metadata, position)
        content = metadata[position + 8 : position + 8 + length]
        content = exif_of_size(content, height, width) if kind == b"eXIf" else content
        kept.append(struct.pack(">I4s", length, kind) + content + struct.pack(">I", zlib.crc32(kind + content)))
        position += 12 + length
    return b"".join(kept)


PNG = Format("PNG", (".png", ".apng"), read, encode, resized=resized)
