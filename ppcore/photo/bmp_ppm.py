"""BMP and the portable maps (PPM, PGM, PBM) of 8 bits: pixels and, in a BMP, their density; `quality` is of no account."""

from ppcore.errors import DataError
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.pillow_images import opened, photograph_of, saved


def read_bmp(data: bytes, name: str) -> Photograph:
    """A BMP file; the metadata is (horizontal, vertical) dots per inch or None."""
    with opened(data, name) as image:
        image.load()
        return photograph_of(image, "BMP", name, image.info.get("dpi"), [])


def encode_bmp(photo: Photograph, quality: int) -> bytes:
    """A BMP file."""
    return saved(photo.samples(), "BMP", **({"dpi": photo.metadata} if photo.metadata else {}))


def read_ppm(data: bytes, name: str) -> Photograph:
    """A PPM, PGM or PBM file.

    Raises:
        DataError: more than 8 bits.
    """
    with opened(data, name) as image:
        arguments = image.tile[0][3] if image.tile else None
        if image.mode == "I" or (isinstance(arguments, tuple) and arguments[-1] > 255):
            raise DataError(f"cannot use image {name}: more than 8 bits in this format; save it as PNG or TIFF")
        image.load()
        return photograph_of(image, "PPM", name, None, [])


def encode_ppm(photo: Photograph, quality: int) -> bytes:
    """A PPM file, or a PGM file of a grey photograph."""
    return saved(photo.samples(), "PPM")


BMP = Format("BMP", (".bmp", ".dib"), read_bmp, encode_bmp)
PPM = Format("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), read_ppm, encode_ppm)
