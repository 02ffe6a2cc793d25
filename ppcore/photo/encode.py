"""Writing photographs that `ppcore.photo.photo_io` read: same format, size, depth, orientation and profile."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ppcore.errors import DataError, OutputError
from ppcore.io import write_atomically
from ppcore.photo.metadata import into_jpeg, into_png
from ppcore.photo.photo_io import Photograph
from ppcore.photo.tiff import encode_tiff, stored


def encode_photograph(photo: Photograph, quality: int = 95) -> bytes:
    """The bytes of the photograph's file.

    Args:
        photo: what to write.
        quality: of JPEG (whose chroma is not subsampled) and of WebP unless the original was lossless.
    """
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    pixels = np.ascontiguousarray(stored(pixels, photo.orientation))
    if photo.format == "TIFF":
        return encode_tiff(pixels, photo.metadata)
    if photo.format == "PNG":
        return into_png(_png16(pixels) if photo.bits == 16 else _by_pillow(pixels, "PNG"), photo.metadata)
    if photo.format == "JPEG":
        metadata, dpi = photo.metadata
        options = {"dpi": dpi} if dpi else {}
        return into_jpeg(_by_pillow(pixels, "JPEG", quality=quality, subsampling=0, **options), metadata)
    if photo.format == "WEBP":
        lossless, metadata = photo.metadata
        # `exact`: without it the colours of transparent pixels are thrown away.
        return _by_pillow(pixels, "WEBP", quality=quality, lossless=lossless, exact=True, **metadata)
    if photo.format == "BMP":
        return _by_pillow(pixels, "BMP", **({"dpi": photo.metadata} if photo.metadata else {}))
    return _by_pillow(pixels, photo.format)


def _by_pillow(pixels: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _png16(pixels: np.ndarray) -> bytes:
    """OpenCV knows no grey with alpha: that is written as RGB with alpha."""
    if pixels.shape[2] == 2:
        pixels = pixels[:, :, [0, 0, 0, 1]]
    elif pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    elif pixels.shape[2] == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(".png", pixels)[1].tobytes()


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
        raise DataError(f"cannot write {path}: {error.strerror or error}") from None
