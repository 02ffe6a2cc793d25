"""What the first bytes of an image file say: size, bit depth, and for plain formats where the pixels lie."""

import struct
import warnings
from typing import NamedTuple

import tifffile
from PIL import Image

from ppcore.data.images.decode import PILLOW_ERRORS
from ppcore.errors import DataError, reason

_ORIENTATION = 274
_ASSOCIATED_ALPHA = 1


class Layout(NamedTuple):
    """Where uncompressed pixels lie in a file.

    Attributes:
        offset: of the first row, bytes.
        row_bytes: from one row to the next.
        channels: samples a pixel.
        dtype: of a sample, with its byte order.
        bottom_up: whether the last row comes first.
        blue_first: whether the order is B, G, R.
    """

    offset: int
    row_bytes: int
    channels: int
    dtype: str
    bottom_up: bool = False
    blue_first: bool = False


class ImageHeader(NamedTuple):
    """Format (Pillow's name), size in pixels as stored, bits (8 or 16), EXIF orientation of a TIFF, layout if plain."""

    format: str
    height: int
    width: int
    bits: int
    orientation: int = 1
    layout: Layout | None = None


def read_header(path: str) -> ImageHeader:
    """Reads what is known without decoding.

    Raises:
        DataError: the file is missing or is no image.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(path)
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            kind, (width, height) = image.format or "", image.size
            if kind == "PPM":
                return _pnm(image, start[:2])
    except Image.UnidentifiedImageError:
        why = "the file is empty" if not start else "not an image, or of an unknown format"
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        why = reason(error)
    else:
        if kind == "BMP":
            return ImageHeader(kind, height, width, 8, layout=_bmp(start))
        # Grey of 16 bits is read as 16 bits too, so that both files of a pair keep what they have.
        return ImageHeader(kind, height, width, 16 if kind == "PNG" and start[24] == 16 else 8)
    raise DataError(f"cannot read image {path}: {why}")


def _tiff(path: str) -> ImageHeader:
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            bits = 16 if page.bitspersample == 16 else 8
            if page.bitspersample not in (1, 2, 4, 8, 16) or page.sampleformat != 1:
                raise ValueError(
                    f"{page.bitspersample}-bit samples of format {page.sampleformat}; save it with 8 or 16 bits"
                )
            tag = page.tags.get(_ORIENTATION)
            orientation = int(tag.value) if tag is not None and int(tag.value) in range(1, 9) else 1
            height, width = int(page.imagelength), int(page.imagewidth)
            if min(height, width) < 1:
                raise ValueError(f"{height}x{width} pixels")
            if colours_of(page) is None or not page.is_memmappable:
                return ImageHeader("TIFF", height, width, bits, orientation)
            dtype = f"{file.byteorder}u{bits // 8}"
            row = width * page.samplesperpixel * bits // 8
            layout = Layout(page.dataoffsets[0], row, page.samplesperpixel, dtype)
            return ImageHeader("TIFF", height, width, bits, orientation, layout)
    # The parser meets damaged bytes with every kind of exception; for the user they mean one thing.
    except Exception as error:
        raise DataError(f"cannot read image {path}: not a TIFF file that can be used ({reason(error)})") from None


def colours_of(page: tifffile.TiffPage) -> int | None:
    """1 or 3 when a TIFF's samples are grey or RGB pixel by pixel (straight alpha may follow); None if not."""
    colours = {1: 1, 2: 3}.get(int(page.photometric))
    samples_fit = colours is not None and page.samplesperpixel == colours + len(page.extrasamples)
    interleaved = page.planarconfig == 1 and page.bitspersample in (8, 16)
    premultiplied = _ASSOCIATED_ALPHA in [int(sample) for sample in page.extrasamples]
    return colours if samples_fit and interleaved and not premultiplied else None


def _pnm(image: Image.Image, magic: bytes) -> ImageHeader:
    """Binary grey and RGB lie plainly; what Pillow's decoder is told says of how many bits."""
    width, height = image.size
    decoder, _, offset, arguments = image.tile[0]
    channels = {b"P5": 1, b"P6": 3}.get(magic)
    raw_mode, largest = (arguments[0], arguments[-1]) if isinstance(arguments, tuple) else (arguments, 0)
    if channels is not None and (raw_mode == "I;16B" or largest == 65535):
        return ImageHeader("PPM", height, width, 16, layout=Layout(offset, width * channels * 2, channels, ">u2"))
    if image.mode not in ("1", "L", "RGB") or largest > 255:
        raise ValueError(f"values up to {largest} in this format; save it as PNG or TIFF")
    if channels is not None and decoder == "raw":
        return ImageHeader("PPM", height, width, 8, layout=Layout(offset, width * channels, channels, "u1"))
    return ImageHeader("PPM", height, width, 8)


def _bmp(start: bytes) -> Layout | None:
    """An uncompressed BMP of 24 bits, as nearly all are; None for others."""
    offset, size, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", start, 10)
    if size < 40 or bits != 24 or compression != 0:
        return None
    return Layout(offset, (width * 3 + 3) // 4 * 4, 3, "u1", bottom_up=height > 0, blue_first=True)
