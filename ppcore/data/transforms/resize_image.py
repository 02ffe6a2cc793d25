"""Resizing with Pillow (torchvision's pixels) or OpenCV (speed)."""

import math
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from ppcore.data.ranges import check_choice

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
Backend = Literal["pil", "cv2"]

_PIL = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
_CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "box": cv2.INTER_AREA,
}
# OpenCV's kernels do not widen when shrinking, so they alias; Pillow's do. Averaging areas is nearer
# to Pillow from about these factors on. Bicubic is blurred before it shrinks, which is nearer still up to
# 2.75 and takes half the time of areas (RMS difference from Pillow in grey levels on 21 photographs at
# factors 1.1, 1.25, 1.6, 2, 3: plain 1.4, 2.5, 4.6, 6.0, 10; areas 1.9, 1.7, 1.6, 2.2, 2.1;
# blurred 0.7, 1.1, 1.5, 1.2, 2.6).
_AREA_FROM = {"bicubic": 2.75}
_AREA_FROM_OTHERS = 1.25


def resize_image(
    image: np.ndarray,
    height: int,
    width: int,
    interpolation: Interpolation = "bicubic",
    backend: Backend = "pil",
    antialias: bool = True,
) -> np.ndarray:
    """Resizes an image.

    Args:
        image: uint8 [H, W, C], C 1 or 3.
        height: of the result, pixels.
        width: of the result, pixels.
        interpolation: the kernel.
        backend: `pil` equals torchvision on PIL images; `cv2` is two to six times faster and equal
            only nearly.
        antialias: for `cv2`: blur or average areas when shrinking, as Pillow always does.

    Returns:
        uint8 [height, width, C].

    Raises:
        ConfigError: `interpolation` or `backend` does not exist.
    """
    check_resize(interpolation, backend)
    rows, columns, channels = image.shape
    if (rows, columns) == (height, width):
        return image
    if backend == "pil":
        source = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        result = np.asarray(source.resize((width, height), _PIL[interpolation]))
    else:
        shrinks = min(rows / height, columns / width) >= 1
        factor = math.sqrt(rows * columns / (height * width))
        antialias &= interpolation != "nearest"
        use_area = antialias and shrinks and factor >= _AREA_FROM.get(interpolation, _AREA_FROM_OTHERS)
        if antialias and not use_area and interpolation == "bicubic":
            image = _blurred(image, rows / height, columns / width)
        method = cv2.INTER_AREA if use_area else _CV2[interpolation]
        result = cv2.resize(image, (width, height), interpolation=method)
    return result.reshape(height, width, channels)


def _blurred(image: np.ndarray, down: float, across: float) -> np.ndarray:
    """What bicubic shrinking by these factors would alias, taken out; an axis that grows is left alone."""
    if max(down, across) <= 1:
        return image
    sides = [min(0.02 + 0.2 * (factor - 1), 1 / 3) if factor > 1 else 0.0 for factor in (across, down)]
    kernels = [np.array([side, 1 - 2 * side, side], np.float32) for side in sides]
    return cv2.sepFilter2D(image, -1, *kernels, borderType=cv2.BORDER_REPLICATE)


def check_resize(interpolation: str, backend: str) -> None:
    """Raises ConfigError unless both exist."""
    check_choice("resize_image", "interpolation", interpolation, list(_PIL))
    check_choice("resize_image", "backend", backend, ("pil", "cv2"))
