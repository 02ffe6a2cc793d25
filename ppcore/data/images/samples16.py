"""16-bit samples of PNG and TIFF files, which Pillow does not read; OpenCV and tifffile with imagecodecs do."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import tifffile
from PIL import Image

from ppcore.data.images.decode import decoding, read_bytes
from ppcore.errors import DataError, reason

# TIFF and BigTIFF, both byte orders. (Pillow does not open all that tifffile reads.)
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNASSOCIATED_ALPHA = 2

# A damaged file would have tifffile talk on standard error beside our own line.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_rgb16(path: str) -> np.ndarray:
    """Reads a 16-bit PNG or TIFF file.

    Returns:
        uint16 [H, W, 3] as stored, RGB. Grey is repeated, alpha left out.

    Raises:
        DataError: the file is missing, damaged or of a kind that is not read.
    """
    data = read_bytes(path)
    if data[:4] in TIFF_STARTS:
        with tiff_page(data, path) as page:
            samples = tiff16(page, path)
    else:
        with decoding(path, data):
            samples, _ = png16(data, path)
    colours = samples[:, :, : 3 if samples.shape[2] > 2 else 1]
    return np.broadcast_to(colours, (*colours.shape[:2], 3))


def png16(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The samples of a 16-bit PNG: OpenCV reads them, after Pillow has found every chunk whole.

    Returns:
        uint16 [H, W, 3] (RGB) or [H, W, 1] (grey) as stored, and alpha [H, W] or None.

    Raises:
        DataError, or what Pillow raises: the file is damaged.
    """
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        transparent = image.info.get("transparency")
        image.verify()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != (height, width):
        raise DataError(f"cannot decode image {name}: damaged")
    colour_type = data[25]
    if colour_type == 0:
        alpha = None if transparent is None else np.where(pixels == transparent, 0, 65535).astype(np.uint16)
        return pixels[:, :, None], alpha
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), None
    colours = pixels[:, :, :1] if colour_type == 4 else np.ascontiguousarray(pixels[:, :, 2::-1])
    return colours, pixels[:, :, 3]


@contextmanager
def tiff_page(data: bytes, name: str) -> Iterator[tifffile.TiffPage]:
    """The one page of a TIFF file.

    Args:
        data: the whole file.
        name: what to call the file in an error.

    Raises:
        DataError: several pages, a raw file's preview, too many pixels, a kind of samples that is not read, damage.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if kind := _unusable(page, sum(not other.is_reduced for other in file.pages)):
                raise DataError(f"cannot use image {name}: {kind}")
            yield page
    except DataError:
        raise
    # The parser meets damaged bytes with every kind of exception; for the user they mean one thing.
    except Exception as error:
        raise DataError(f"cannot decode image {name}: {reason(error)}") from None


def _unusable(page: tifffile.TiffPage, pages: int) -> str:
    """Why a page is not read; empty if it is."""
    limit = 2 * Image.MAX_IMAGE_PIXELS  # as Pillow does
    if page.is_reduced:
        return "its first page is a preview (a camera's raw file?); develop it first"
    if pages > 1:
        return f"it has {pages} pages; save the one to use by itself"
    if page.imagewidth < 1 or page.imagelength < 1 or page.samplesperpixel < 1:
        return "it is damaged, or has no pixels"
    if page.imagewidth * page.imagelength > limit:
        return f"{page.imagewidth}x{page.imagelength} is more than {limit} pixels"
    if page.sampleformat != 1 or page.bitspersample > 16:
        return f"{page.bitspersample}-bit samples of format {page.sampleformat.name}; save it with 8 or 16 bits"
    if page.bitspersample == 16:
        colours = {0: 1, 1: 1, 2: 3}.get(int(page.photometric))
        extra = [int(sample) for sample in page.extrasamples]
        if colours is None:
            return f"16-bit samples of kind {page.photometric.name}; save it as RGB or grey"
        if extra not in ([], [_UNASSOCIATED_ALPHA]) or page.samplesperpixel != colours + len(extra):
            return f"{page.samplesperpixel} samples a pixel of 16 bits that are not grey or RGB with straight alpha"
    return ""


def tiff16(page: tifffile.TiffPage, name: str) -> np.ndarray:
    """The samples of a page of `tiff_page` with 16 bits: uint16 [H, W, 1 to 4] as stored.

    Raises:
        DataError: strips or tiles are damaged or missing.
    """
    if 0 in page.databytecounts:  # tifffile would fill up what is missing with zeros
        raise DataError(f"cannot decode image {name}: damaged (a strip or tile is missing)")
    try:
        pixels = page.asarray()
    except RuntimeError as error:  # imagecodecs'
        raise DataError(f"cannot decode image {name}: damaged ({reason(error)})") from None
    pixels = pixels.transpose(1, 2, 0) if page.planarconfig == 2 and pixels.ndim == 3 else pixels
    pixels = pixels.astype(np.uint16, copy=False).reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.photometric == 0:  # white is zero
        pixels = np.concatenate([65535 - pixels[:, :, :1], pixels[:, :, 1:]], axis=2)
    return pixels
