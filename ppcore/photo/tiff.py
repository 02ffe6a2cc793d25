"""TIFF of 8 and 16 bits: tifffile reads the structure and 16-bit samples, Pillow the many kinds of 8 bits and fewer.

Texts, profile, density, XMP and IPTC are written again; what tifffile cannot write is named.
"""

import io
from typing import Any, NamedTuple

import tifffile
from PIL import Image

from ppcore.data.images.orientation import upright
from ppcore.data.images.samples16 import tiff16, tiff_page
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.pillow_images import plain, planes

# Description, maker, model, date, artist, copyright, XMP, IPTC.
_KEPT_TAGS = (270, 271, 272, 306, 315, 33432, 700, 33723)
_ORIENTATION, _ICC, _IPTC = 274, 34675, 33723
# What tifffile cannot write again.
_LEFT_OUT = {34665: "EXIF details", 34853: "GPS position", 37724: "layers"}


class TiffInfo(NamedTuple):
    """What a page says beside its samples.

    Attributes:
        orientation: 1 to 8.
        icc: the ICC profile.
        compressed: whether the samples are compressed in any way.
        resolution: pixels per unit, horizontally and vertically, and the unit's code.
        tags: (code, type, count, value) of texts, XMP and IPTC.
        left_out: what the file has beside that is not written again.
    """

    orientation: int
    icc: bytes | None
    compressed: bool
    resolution: tuple[Any, Any, int] | None
    tags: list[tuple]
    left_out: list[str]


def read(data: bytes, name: str) -> Photograph:
    """A TIFF file of one page; the metadata is its `TiffInfo`."""
    with tiff_page(data, name) as page:
        info = _info(page)
        samples = tiff16(page, name) if page.bitspersample == 16 else None
    notes = [f"{' and '.join(info.left_out)} of the TIFF left out"] if info.left_out else []
    if samples is not None:
        pixels, alpha = planes(upright(samples, info.orientation))
    else:
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # Pillow turns a TIFF upright itself
            pixels, alpha = planes(plain(image, info.icc, name, notes))
            if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
                info = info._replace(icc=None)  # of colours that have been converted
    return Photograph(pixels, alpha, "TIFF", info.orientation, info, notes)


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
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        icc=icc if isinstance(icc, bytes) and icc else None,
        compressed=page.compression != 1,
        resolution=resolution,
        tags=tags,
        left_out=[name for code, name in _LEFT_OUT.items() if code in values],
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) and 0 < v < 2**32 for v in value)


def encode(photo: Photograph, quality: int) -> bytes:
    """A TIFF file with the tags of its `TiffInfo`, deflated if that was compressed; `quality` is of no account."""
    samples, info = photo.samples(), photo.metadata
    colours = 3 if samples.shape[2] > 2 else 1
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples[:, :, 0] if samples.shape[2] == 1 else samples,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if samples.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if samples.shape[2] > colours else None,
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


TIFF = Format("TIFF", (".tif", ".tiff"), read, encode)
