"""Image operations on pixel values, with the pixels Pillow's ImageOps, ImageEnhance and ImageFilter give.

Each takes and returns uint8 [H, W, C], C 1 or 3, and leaves its input as it is. What depends on the
pixel's value alone is one table look-up (0.06 ms for 224x224x3); Pillow's arithmetic truncates
float32, and so do the tables.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

_LEVELS = np.arange(256)
# Pillow's luma weights, of 65536, and its rounding; float32 holds all their sums exactly.
_LUMA = np.array([[19595 / 65536, 38470 / 65536, 7471 / 65536, 0.5]], np.float32)
# ImageFilter.SMOOTH, the blurred image that Sharpness moves away from.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """Stretches each channel to 0..255; a channel of one value stays."""
    return _by_channel(image, _stretching)


def _stretching(plane: np.ndarray) -> np.ndarray:
    low, high = cv2.minMaxLoc(plane)[:2]
    if low == high:
        return _LEVELS
    scale = 255.0 / (high - low)
    return np.clip(_LEVELS * scale - low * scale, 0, 255)


def equalize(image: np.ndarray) -> np.ndarray:
    """Makes each channel's histogram nearly flat."""
    return _by_channel(image, _equalizing)


def _equalizing(plane: np.ndarray) -> np.ndarray:
    counts = cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    used = counts[counts > 0]
    step = int(used.sum() - used[-1]) // 255
    if len(used) < 2 or step == 0:
        return _LEVELS
    below = np.cumsum(counts) - counts
    return np.minimum((step // 2 + below) // step, 255)


def invert(image: np.ndarray) -> np.ndarray:
    """255 minus each value."""
    return ~image


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the `bits` (0..8) high bits of each value; 0 makes the image black."""
    return image & np.uint8(256 - (1 << (8 - bits)))


def solarize(image: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Inverts the values from `threshold` (0..256) on."""
    return _look_up(image, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS))


def solarize_add(image: np.ndarray, add: int, threshold: int = 128) -> np.ndarray:
    """Adds `add` to the values below `threshold`, up to 255."""
    return _look_up(image, np.where(threshold > _LEVELS, np.minimum(_LEVELS + add, 255), _LEVELS))


def grayscale(image: np.ndarray) -> np.ndarray:
    """The luma in every channel."""
    return image if image.shape[2] == 1 else cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends with black: factor 0 is black, 1 the image, above 1 brighter."""
    return _look_up(image, _blend(np.zeros(256, np.uint8), _LEVELS, factor))


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the mean grey of the image."""
    luma = _luma(image)
    mean = int(cv2.sumElems(luma)[0] / luma.size + 0.5)
    return _look_up(image, _blend(np.full(256, mean, np.uint8), _LEVELS, factor))


def color(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the grey image; an image of one channel is its own grey image."""
    return image if image.shape[2] == 1 else _blend(grayscale(image), image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the smoothed image, whose outermost pixels are the image's."""
    smooth = cv2.filter2D(image, -1, _SMOOTH).reshape(image.shape)
    smooth[[0, -1]] = image[[0, -1]]
    smooth[:, [0, -1]] = image[:, [0, -1]]
    return _blend(smooth, image, factor)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs as Pillow's GaussianBlur: three box filters whose edge weights give the variance.

    Here the three are one kernel, and the result is rounded once instead of six times.

    Args:
        image: uint8 [H, W, C].
        sigma: standard deviation, pixels.
    """
    kernel = _box_gaussian(sigma)
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE).reshape(image.shape)


def _box_gaussian(sigma: float) -> np.ndarray:
    """The kernel of three equal boxes with fractional ends (Gwosdek et al. 2011, extended box filter)."""
    variance = sigma * sigma / 3  # of one box
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    end = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.array([end] + [1.0] * (2 * whole + 1) + [end])
    kernel = np.convolve(np.convolve(box, box), box)
    return (kernel / kernel.sum()).astype(np.float32)


def _luma(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W]; half the time of a round trip through Pillow."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    return cv2.transform(image.astype(np.float32), _LUMA).astype(np.uint8)


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Maps the values of all channels through a table [256]."""
    return cv2.LUT(image, table.astype(np.uint8)).reshape(image.shape)


def _by_channel(image: np.ndarray, table_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Maps each channel through the table [256] made of it."""
    planes = [cv2.LUT(plane, table_of(plane).astype(np.uint8)) for plane in cv2.split(image)]
    return cv2.merge(planes).reshape(image.shape)


def _blend(base: np.ndarray, image: np.ndarray, factor: float) -> np.ndarray:
    """`base + factor * (image - base)` in float32, clipped and truncated, as Image.blend does it."""
    base = base.astype(np.float32)
    mixed = image.astype(np.float32)
    mixed -= base
    mixed *= np.float32(factor)
    mixed += base
    if not 0 <= factor <= 1:
        np.clip(mixed, 0, 255, out=mixed)
    return mixed.astype(np.uint8)
