"""Reading and writing photographs without losing anything but what is changed on purpose."""

import io
import os
import warnings
from pathlib import Path

from PIL import Image

from ppcore.data.images.decode import PILLOW_ERRORS, decoding, read_bytes
from ppcore.data.images.samples16 import TIFF_STARTS
from ppcore.errors import DataError, OutputError, reason
from ppcore.io import write_atomically
from ppcore.photo.bmp_ppm import BMP, PPM
from ppcore.photo.exif import orientation_of
from ppcore.photo.jpeg import JPEG
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.png import PNG
from ppcore.photo.tiff import TIFF
from ppcore.photo.webp import WEBP

# By Pillow's name; what is only read has the format in which it is written.
FORMATS = {"JPEG": JPEG, "MPO": JPEG, "PNG": PNG, "GIF": PNG, "TIFF": TIFF, "WEBP": WEBP, "BMP": BMP, "PPM": PPM}


def photo_header(path: str | os.PathLike) -> tuple[str, int, int] | None:
    """The format a photograph will be written in, its height and width upright; None if its header is not read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            # Of a TIFF, Pillow gives the size upright.
            turned = image.format != "TIFF" and orientation_of(image) >= 5
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            written = FORMATS.get(image.format)
            return image.format if written is None else written.name, height, width
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return None


def read_photograph(path: str | os.PathLike) -> Photograph:
    """Reads a photograph.

    Grey stays grey, palettes become RGB, CMYK becomes RGB through its profile. A file with several
    pictures that are equals (an animation, a TIFF of several pages) is refused rather than cut to its first.

    Raises:
        DataError: missing, damaged or truncated, several pictures, or of a kind that cannot be written back.
    """
    path = os.fspath(path)
    data = read_bytes(path)
    with decoding(path, data):
        return _format_of(data, path).read(data, path)


def _format_of(data: bytes, path: str) -> Format:
    if data[:4] in TIFF_STARTS:
        return TIFF
    with Image.open(io.BytesIO(data)) as image:
        name = image.format
    if name not in FORMATS:
        raise DataError(f"cannot use image {path}: {name} is not written here; save it as PNG, TIFF or JPEG")
    return FORMATS[name]


def encode_photograph(photo: Photograph, quality: int = 95) -> bytes:
    """The bytes of the photograph's file: same format, size, depth, orientation and profile.

    Args:
        photo: what to write.
        quality: of JPEG (whose chroma is not subsampled) and of WebP unless the original was lossless.
    """
    return FORMATS[photo.format].encode(photo, quality)


def write_file(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file under its name only when it is whole on the disk; makes its folder.

    Raises:
        DataError: no room, no permission, no such drive: the reason in one line.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temp: temp.write_bytes(data))
    except OutputError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from None
