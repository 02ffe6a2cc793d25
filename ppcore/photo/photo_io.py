"""Photographs read, to be written (`ppcore.photo.encode`) without losing anything but what is changed on purpose.

`ppcore.data.read_image` gives what a classifier looks at: 8 bits, as stored. Here the bit depth, alpha,
EXIF and its orientation, ICC profile, XMP, density and texts come along and go back into the written file.

The pixels are turned upright for whoever looks at them, and turned back when written: the file
keeps its size and its orientation tag, so every viewer that showed the one upright shows the other so.
"""

import io
import os
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from ppcore.data.images.decode import PILLOW_ERRORS, read_bytes
from ppcore.errors import DataError
from ppcore.photo.metadata import exif_without_thumbnail, jpeg_metadata, png_metadata
from ppcore.photo.tiff import read_tiff, upright

# Format as Pillow calls it -> the suffixes its files have, the usual one first.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
# What is written for a format that is only read: MPO is a JPEG with further pictures behind it.
_WRITTEN_AS = {"MPO": "JPEG", "GIF": "PNG"}
# TIFF and BigTIFF, both byte orders. (Pillow does not open all that tifffile reads.)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph and what its file says beside the pixels.

    Attributes:
        pixels: uint8 or uint16 [H, W, 3] (RGB) or [H, W, 1] (grey), upright.
        alpha: the same type [H, W], upright, or None.
        format: how it is written, a key of `SUFFIXES`.
        orientation: EXIF orientation 1 to 8 of the stored pixels.
        metadata: what the new file is given beside the pixels; its kind depends on the format.
        notes: what cannot be kept as it was, for the user.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    orientation: int = 1
    metadata: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def bits(self) -> int:
        """8 or 16."""
        return self.pixels.dtype.itemsize * 8

    def rgb(self) -> np.ndarray:
        """The pixels as [H, W, 3]; grey is shown three times."""
        return np.broadcast_to(self.pixels, (*self.pixels.shape[:2], 3))

    def with_rgb(self, rgb: np.ndarray) -> "Photograph":
        """The same photograph with other colours [H, W, 3]; of a grey one, their luma (Rec. 601)."""
        if self.pixels.shape[2] == 1:
            rgb = np.rint(rgb @ _LUMA).astype(rgb.dtype)[:, :, None]
        return replace(self, pixels=rgb)


def photo_header(path: str | os.PathLike) -> tuple[str, int, int] | None:
    """The format a photograph will be written in, its height and width upright; None if its header is not read."""
    try:
        with _quiet(), Image.open(path) as image:
            # Of a TIFF, Pillow gives the size upright.
            turned = image.format != "TIFF" and _orientation(image) >= 5
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            return _WRITTEN_AS.get(image.format, image.format), height, width
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
    try:
        if data[:4] in _TIFF:
            return _read_tiff(data, path)
        with _quiet(), Image.open(io.BytesIO(data)) as image:
            return _read(image, data, path)
    except Image.UnidentifiedImageError:
        reason = "the file is empty" if not data else "not an image, or of an unknown format"
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    raise DataError(f"cannot decode image {path}: {reason}")


def _quiet() -> warnings.catch_warnings:
    # Pillow warns of odd EXIF, palettes with transparency and images beyond half its limit; none is the user's concern.
    return warnings.catch_warnings(action="ignore")


def _read(image: Image.Image, data: bytes, path: str) -> Photograph:
    kind = _WRITTEN_AS.get(image.format, image.format)
    if kind not in SUFFIXES:
        raise DataError(f"cannot use image {path}: {image.format} is not written here; save it as PNG, TIFF or JPEG")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"cannot use image {path}: an animation of {image.n_frames} pictures; save one by itself")
    notes = []
    if image.format == "MPO":
        notes.append(f"pictures behind the first left out: {image.n_frames - 1}")
    if image.format == "GIF":
        notes.append("GIF written as PNG")
    if image.format == "PNG" and data[24] == 16:
        pixels, alpha = _png16(image, data, path)
        orientation = _orientation(image)
        metadata = png_metadata(data)
    else:
        arguments = image.tile[0][3] if image.tile else None
        if image.format == "PPM" and (image.mode == "I" or (isinstance(arguments, tuple) and arguments[-1] > 255)):
            raise DataError(f"cannot use image {path}: more than 8 bits in this format; save it as PNG or TIFF")
        image.load()
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
        metadata = _metadata(image, kind, data, profile)
        pixels, alpha = _planes(_plain(image, profile, path, notes))
    alpha = None if alpha is None else upright(alpha, orientation)
    return Photograph(upright(pixels, orientation), alpha, kind, orientation, metadata, notes)


def _read_tiff(data: bytes, path: str) -> Photograph:
    info, samples = read_tiff(data, path, 2 * Image.MAX_IMAGE_PIXELS)
    notes = [f"{' and '.join(info.left_out)} of the TIFF left out"] if info.left_out else []
    if samples is not None:
        pixels, alpha = _planes(upright(samples, info.orientation))
        return Photograph(pixels, alpha, "TIFF", info.orientation, info, notes)
    with _quiet(), Image.open(io.BytesIO(data)) as image:
        image.load()  # Pillow turns a TIFF upright itself
        pixels, alpha = _planes(_plain(image, info.icc, path, notes))
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            info = info._replace(icc=None)  # of colours that have been converted
    return Photograph(pixels, alpha, "TIFF", info.orientation, info, notes)


def _planes(image: Image.Image | np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours [H, W, 1 or 3] and alpha [H, W] or None."""
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colours = 3 if pixels.shape[2] > 2 else 1
    return pixels[:, :, :colours], pixels[:, :, colours] if pixels.shape[2] > colours else None


def _png16(image: Image.Image, data: bytes, path: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Pillow has no 16-bit colour: OpenCV reads it, after Pillow has found every chunk whole."""
    with Image.open(io.BytesIO(data)) as checked:
        checked.verify()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != (image.height, image.width):
        raise DataError(f"cannot decode image {path}: damaged")
    colour_type, transparent = data[25], image.info.get("transparency")
    if colour_type == 0:
        alpha = None if transparent is None else np.where(pixels == transparent, 0, 65535).astype(np.uint16)
        return pixels[:, :, None], alpha
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), None
    colours = pixels[:, :, :1] if colour_type == 4 else np.ascontiguousarray(pixels[:, :, 2::-1])
    return colours, pixels[:, :, 3]


def _plain(image: Image.Image, profile: bytes | None, path: str, notes: list[str]) -> Image.Image:
    """The image in mode L, LA, RGB or RGBA."""
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
        f"cannot use image {path}: its pixels are of mode {image.mode}; save it as 8- or 16-bit RGB or grey"
    )


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is not None:
        try:
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # not a profile, or not one of four inks
            return image.convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF's, or XMP's where there is no EXIF; 1 for a number that means nothing."""
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _metadata(image: Image.Image, kind: str, data: bytes, profile: bytes | None) -> Any:
    if kind == "JPEG":
        return jpeg_metadata(data, profile=image.mode != "CMYK"), image.info.get("dpi")
    if image.format == "PNG":
        return png_metadata(data)
    if kind == "WEBP":
        exif = image.info.get("exif")
        kept = {"icc_profile": profile, "exif": exif and exif_without_thumbnail(exif), "xmp": image.info.get("xmp")}
        return b"VP8L" in data[12:4096], {key: value for key, value in kept.items() if value}
    return image.info.get("dpi") if kind == "BMP" else b""
