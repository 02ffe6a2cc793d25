"""Between Pillow's images and photographs: any of its modes as grey or RGB, with alpha or without."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ppcore.data.images.orientation import upright
from ppcore.errors import DataError
from ppcore.photo.exif import orientation_of
from ppcore.photo.photograph import Photograph


@contextmanager
def opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """The one picture of a file, not yet decoded; of an MPO, whose further ones are no equals, the first.

    Raises:
        DataError: an animation.
    """
    with Image.open(io.BytesIO(data)) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise DataError(f"cannot use image {name}: an animation of {image.n_frames} pictures; save one by itself")
        yield image


def photograph_of(image: Image.Image, kind: str, name: str, metadata: Any, notes: list[str]) -> Photograph:
    """A photograph of 8 bits from a decoded image that lies as it is stored.

    Args:
        image: decoded.
        kind: the name of the format it is written in.
        name: what to call the file in an error.
        metadata: of that format.
        notes: as in `Photograph`; what a conversion loses is added.
    """
    orientation = orientation_of(image)
    pixels, alpha = planes(plain(image, image.info.get("icc_profile"), name, notes))
    alpha = None if alpha is None else upright(alpha, orientation)
    return Photograph(upright(pixels, orientation), alpha, kind, orientation, metadata, notes)


def planes(image: Image.Image | np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours [H, W, 1 or 3] and alpha [H, W] or None."""
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colours = 3 if pixels.shape[2] > 2 else 1
    return pixels[:, :, :colours], pixels[:, :, colours] if pixels.shape[2] > colours else None


def plain(image: Image.Image, profile: bytes | None, name: str, notes: list[str]) -> Image.Image:
    """The image in mode L, LA, RGB or RGBA: palettes become RGB, CMYK becomes RGB through its profile.

    Raises:
        DataError: a mode that would lose something.
    """
    clear = "transparency" in image.info
    if image.mode in ("L", "1"):
        return image.convert("LA" if clear else "L")
    if image.mode in ("LA", "RGBA"):
        return image
    if image.mode in ("La", "RGBa", "PA"):
        return image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("RGB", "P"):
        return image.convert("RGBA" if clear else "RGB")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
        return _from_cmyk(image, profile)
    if image.mode in ("RGBX", "YCbCr"):
        return image.convert("RGB")
    raise DataError(
        f"cannot use image {name}: its pixels are of mode {image.mode}; save it as 8- or 16-bit RGB or grey"
    )


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is not None:
        try:
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # not a profile, or not one of four inks
            return image.convert("RGB")
    return image.convert("RGB")


def saved(samples: np.ndarray, kind: str, **options: Any) -> bytes:
    """A file of uint8 [H, W, 1 to 4], written by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples).save(buffer, kind, **options)
    return buffer.getvalue()
