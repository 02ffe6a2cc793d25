"""A photograph to what a super-resolution network is given, by a protocol: low resolution, bicubic input, reference."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ppcore.errors import DataError
from ppsr.matlab_resize import imresize, modcrop
from ppsr.sr_protocols import Making
from ppsr.ycbcr import y_of


@dataclass(frozen=True)
class Degraded:
    """Images of one photograph, Y as float64 in [0, 1].

    Attributes:
        reference: Y [H, W].
        low: Y [H / scale, W / scale].
        bicubic: Y [H, W], the low-resolution image enlarged.
        reference_rgb: uint8 [H, W, 3], or [H, W] of a grey photograph.
        low_rgb: uint8 [H / scale, W / scale, 3] (or grey): the 8-bit low-resolution image.
    """

    reference: np.ndarray
    low: np.ndarray
    bicubic: np.ndarray
    reference_rgb: np.ndarray
    low_rgb: np.ndarray


def degrade(image: np.ndarray, scale: int, making: Making) -> Degraded:
    """Makes them.

    Args:
        image: uint8 [H, W, 3], or [H, W] of a grey photograph, which is its own Y.
        scale: a whole number.
        making: how.

    Raises:
        DataError: the photograph is smaller than the scale.
    """
    if min(image.shape[:2]) < scale:
        raise DataError(f"an image of {image.shape[0]}x{image.shape[1]} cannot be shrunk by {scale}")
    reference_rgb = fitted(image, scale, making)
    reference = _y(reference_rgb, making)
    low_rgb = _resized(reference_rgb, 1 / scale, making)
    low = _resized(reference, 1 / scale, making) if making.shrunk == "y" else _y(low_rgb, making)
    bicubic = (
        _resized(low, scale, making) if making.enlarged == "y" else _y(_resized(low_rgb, scale, making), making)
    )
    if making.clip16:
        bicubic = bicubic.clip(16 / 255, 235 / 255)
    return Degraded(reference, low, bicubic, reference_rgb, low_rgb)


def fitted(image: np.ndarray, scale: int, making: Making) -> np.ndarray:
    """A photograph cropped, or resized, to a multiple of the scale."""
    if making.fit == "crop":
        return modcrop(image, scale)
    height, width = (length // scale * scale for length in image.shape[:2])
    if making.resizer == "pillow":
        return _pillow(image, height, width)
    return imresize(image, size=(height, width), border=making.border)


def _y(image: np.ndarray, making: Making) -> np.ndarray:
    y = y_of(image, making.y)
    return np.floor(y * 255.0 + 0.5) / 255.0 if making.y8 else y


def _resized(image: np.ndarray, scale: float, making: Making) -> np.ndarray:
    if making.resizer == "pillow":
        return _pillow(image, round(image.shape[0] * scale), round(image.shape[1] * scale))
    return imresize(image, scale, border=making.border)


def _pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
