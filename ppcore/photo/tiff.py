"""TIFF photographs: which pages and tags a file has, 16-bit samples, and writing them back.

tifffile reads the structure and the samples that are stored plainly or deflated. LZW and PackBits
need a further library there, so OpenCV's libtiff takes those; it is only asked for layouts it was
found to read right (not planar, not two samples: it returns wrong pixels for these without a word).
"""

import io
import logging
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile

from ppcore.errors import DataError

# A damaged file would have tifffile talk on standard error beside our own line.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Description, maker, model, date, artist, copyright, XMP, IPTC.
_KEPT_TAGS = (270, 271, 272, 306, 315, 33432, 700, 33723)
_ORIENTATION, _ICC, _IPTC = 274, 34675, 33723
# What tifffile cannot write again.
_LEFT_OUT = {34665: "EXIF details", 34853: "GPS position", 37724: "layers"}
_UNASSOCIATED_ALPHA = 2


class TiffInfo(NamedTuple):
    """What the first page says.

    Attributes:
        bits: per sample.
        orientation: 1 to 8.
        icc: the ICC profile.
        compressed: whether the samples are compressed in any way.
        resolution: pixels per unit, horizontally and vertically, and the unit's code.
        tags: (code, type, count, value) of texts, XMP and IPTC.
        left_out: what the file has beside that is not written again.
    """

    bits: int
    orientation: int
    icc: bytes | None
    compressed: bool
    resolution: tuple[Any, Any, int] | None
    tags: list[tuple]
    left_out: list[str]


def read_tiff(data: bytes, name: str, limit: int) -> tuple[TiffInfo, np.ndarray | None]:
    """Reads the structure, and the samples where there are 16 bits of them.

    Args:
        data: the whole file.
        name: what to call the file in an error.
        limit: the largest number of pixels to accept.

    Returns:
        The first page's information, and uint16 [H, W, 1 to 4] as stored, or None when the samples
        are of 8 bits or fewer.

    Raises:
        DataError: several pages, a raw file's preview, a kind of samples that is not read, damage.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            pages = sum(not other.is_reduced for other in file.pages)
            _refuse(page, pages, name, limit)
            info = _info(page)
            return info, _samples16(page, data, name, info.orientation) if info.bits == 16 else None
    except DataError:
        raise
    # The parser meets damaged bytes with every kind of exception; for the user they mean one thing.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot decode image {name}: {reason}") from None


def _refuse(page: tifffile.TiffPage, pages: int, name: str, limit: int) -> None:
    kind = ""
    if page.is_reduced:
        kind = "its first page is a preview (a camera's raw file?); develop it first"
    elif pages > 1:
        kind = f"it has {pages} pages; save the one to use by itself"
    elif page.imagewidth < 1 or page.imagelength < 1 or page.samplesperpixel < 1:
        kind = "it is damaged, or has no pixels"
    elif page.imagewidth * page.imagelength > limit:
        kind = f"{page.imagewidth}x{page.imagelength} is more than {limit} pixels"
    elif page.sampleformat != 1 or page.bitspersample > 16:
        kind = f"{page.bitspersample}-bit samples of format {page.sampleformat.name}; save it with 8 or 16 bits"
    elif page.bitspersample == 16:
        colours = {0: 1, 1: 1, 2: 3}.get(int(page.photometric))
        extra = [int(sample) for sample in page.extrasamples]
        if colours is None:
            kind = f"16-bit samples of kind {page.photometric.name}; save it as RGB or grey"
        elif extra not in ([], [_UNASSOCIATED_ALPHA]) or page.samplesperpixel != colours + len(extra):
            kind = f"{page.samplesperpixel} samples a pixel of 16 bits that are not grey or RGB with straight alpha"
    if kind:
        raise DataError(f"cannot use image {name}: {kind}")


def _info(page: tifffile.TiffPage) -> TiffInfo:
    """What is kept; a tag that is not of its usual kind (a damaged file's) is left behind."""
    values = {int(tag.code): tag.value for tag in page.tags}
    texts = {
        code: value.encode("utf-8", "surrogateescape") + b"\0" if isinstance(value, str) else value
        for code, value in values.items()
        if code in _KEPT_TAGS
    }
    # Type 2 is text, 1 and 7 are bytes.
    tags = [
        (code, 2 if isinstance(values[code], str) else 7 if code == _IPTC else 1, len(text), text, True)
        for code, text in texts.items()
        if isinstance(text, bytes) and text
    ]
    resolution = (values.get(282), values.get(283), int(values.get(296, 2)))
    if resolution[2] not in (1, 2, 3) or not all(_is_fraction(value) for value in resolution[:2]):
        resolution = None
    orientation, icc = values.get(_ORIENTATION, 1), values.get(_ICC)
    return TiffInfo(
        bits=page.bitspersample,
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        icc=icc if isinstance(icc, bytes) and icc else None,
        compressed=page.compression != 1,
        resolution=resolution,
        tags=tags,
        left_out=[name for code, name in _LEFT_OUT.items() if code in values],
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) and 0 < v < 2**32 for v in value)


def _samples16(page: tifffile.TiffPage, data: bytes, name: str, orientation: int) -> np.ndarray:
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.compression in (1, 8, 32946):  # none, deflate under its two numbers
        pixels = page.asarray()
        pixels = pixels.transpose(1, 2, 0) if page.planarconfig == 2 and pixels.ndim == 3 else pixels
    elif page.planarconfig == 2 or page.samplesperpixel == 2:
        raise DataError(f"cannot decode image {name}: 16-bit {page.compression.name}; save it uncompressed or deflated")
    else:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype != np.uint16:
            raise DataError(f"cannot decode image {name}: damaged, or 16-bit {page.compression.name} of a kind unknown")
        pixels = stored(pixels, orientation)  # OpenCV has turned it
        if pixels.ndim == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    pixels = pixels.astype(np.uint16, copy=False).reshape(shape)
    if page.photometric == 0:  # white is zero
        pixels = np.concatenate([65535 - pixels[:, :, :1], pixels[:, :, 1:]], axis=2)
    return pixels


def encode_tiff(pixels: np.ndarray, info: TiffInfo) -> bytes:
    """A TIFF file of uint8 or uint16 [H, W, 1 to 4] as stored, with the tags of `info`; deflated if that was."""
    colours = 3 if pixels.shape[2] > 2 else 1
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels[:, :, 0] if pixels.shape[2] == 1 else pixels,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if pixels.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if pixels.shape[2] > colours else None,
        compression="zlib" if info.compressed else None,
        predictor=info.compressed,
        iccprofile=info.icc,
        resolution=info.resolution[:2] if info.resolution else None,
        resolutionunit=info.resolution[2] if info.resolution else None,
        metadata=None,
        software=False,
        extratags=[*info.tags, (_ORIENTATION, 3, 1, info.orientation, True)],
    )
    return buffer.getvalue()


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of stored pixels [H, W, …] as they are to be looked at, for an EXIF orientation of 1 to 8."""
    if orientation >= 5:  # 5 transposed, 6 rotated right, 7 transposed the other way, 8 rotated left
        pixels = pixels.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    mirrored = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if mirrored else 1]


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `upright`."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
