"""Decoding image files to RGB arrays, with the pixels Pillow would give.

OpenCV decodes the common kinds (JPEG, 8-bit RGB PNG) because it is a third faster; on these its
pixels equal Pillow's (both ship libjpeg-turbo; the tests compare them). Everything
whose meaning the two libraries read differently goes through Pillow: CMYK JPEG, palettes,
transparency, 16 bits, and any other format. EXIF orientation is ignored, as by torchvision's
default loader, with which the published accuracies were measured.
"""

import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image

from ppcore.errors import DataError, reason

# What Pillow raises on damaged files, depending on the format and the place of the damage.
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error)
# From 4.11 on OpenCV hands out RGB itself, which saves a pass over the pixels.
_READS_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_READ_FLAGS = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR_RGB if _READS_RGB else cv2.IMREAD_COLOR)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file.

    Args:
        path: the file.

    Returns:
        uint8 array [H, W, 3], RGB.

    Raises:
        DataError: the file is missing, damaged, truncated or no image.
    """
    path = os.fspath(path)
    return decode_image(read_bytes(path), path)


def read_bytes(path: str) -> bytes:
    """The whole of an image file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"cannot read image {path}: {reason(error)}") from None


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decodes the bytes of an image file.

    Args:
        data: the whole file.
        name: what to call the file in an error.

    Returns:
        uint8 array [H, W, 3], RGB. 16-bit grey images are divided by 256 (Pillow's own
        conversion, and so torchvision's, turns nearly all of their values into white).

    Raises:
        DataError: the data is damaged, truncated or no image.
    """
    if _complete_plain_jpeg(data) or _complete_rgb_png(data):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
        if image is not None:
            return image if _READS_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return _decode_with_pillow(data, name)


def _complete_plain_jpeg(data: bytes) -> bool:
    """Whether OpenCV can be trusted with this JPEG: grey or YCbCr/RGB, and not cut off.

    `cv2.imread` returns the decoded part of a truncated JPEG with grey below it and no error
    (`cv2.imdecode` does refuse in the versions tried, 4.11 and 5.0, but does not promise to).
    Entropy-coded data holds no bare marker, so a file is whole exactly when an end-of-image
    marker follows its last start-of-scan. (A thumbnail's own end marker comes before that scan.)
    """
    if data[:3] != b"\xff\xd8\xff":
        return False
    # Nearly every file ends with the marker; searching all of it would take a thirtieth of decoding's time.
    if not data.endswith(b"\xff\xd9") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return False
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            return data[position + 9] in (1, 3)  # components; 4 is CMYK
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _complete_rgb_png(data: bytes) -> bool:
    """Whether this is an 8-bit RGB PNG without transparency that has its end chunk."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[24:26] != b"\x08\x02":  # bit depth, colour type
        return False
    return data[-8:-4] == b"IEND" and b"tRNS" not in data[: data.find(b"IDAT")]


def _decode_with_pillow(data: bytes, name: str) -> np.ndarray:
    with decoding(name, data), Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
            grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(image.convert("RGB"))


@contextmanager
def decoding(name: str, data: bytes) -> Iterator[None]:
    """Makes of what Pillow raises inside a DataError of one line.

    Its warnings are of odd EXIF, palettes with transparency and images beyond half its limit; none is the user's concern.

    Args:
        name: what to call the file.
        data: the whole file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
        return
    except Image.UnidentifiedImageError:
        why = "the file is empty" if not data else "not an image, or of an unknown format"
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        why = reason(error)
    raise DataError(f"cannot decode image {name}: {why}")
