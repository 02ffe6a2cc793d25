"""MATLAB's `imresize(…, 'bicubic')` to the last bits: what every published figure of super-resolution is made with.

Two generations of MATLAB differ at the border: the older one repeats the edge pixel, the newer one mirrors the image. Neither
Pillow (window cut at the border, 8 bits between the passes) nor OpenCV (another kernel, no antialias) gives these pixels.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import sparse

from ppcore.data.ranges import check, check_choice

Border = Literal["symmetric", "replicate"]
BORDERS = ("symmetric", "replicate")


def imresize(
    image: np.ndarray,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    border: Border = "symmetric",
    antialias: bool = True,
) -> np.ndarray:
    """Resizes an image with the cubic kernel of a = -1/2.

    The axis with the smaller scale goes first, of equal ones the rows. uint8 is rounded half away from zero and clipped after
    each axis.

    Args:
        image: [H, W] or [H, W, C], uint8 or floating point.
        scale: of both axes; the result has ⌈H · scale⌉ rows and ⌈W · scale⌉ columns.
        size: or the result's (rows, columns); each axis then has the scale that this means.
        border: `symmetric` mirrors the image with its edge pixels (newer MATLAB), `replicate` repeats them (older).
        antialias: widens the kernel where the image shrinks, as MATLAB does by default.

    Returns:
        uint8 of uint8, otherwise float64, of the same number of dimensions.

    Raises:
        ConfigError: not exactly one of `scale` and `size`, or an argument is out of range.
    """
    check_choice("imresize", "border", border, BORDERS)
    check((scale is None) != (size is None), "imresize", "scale", scale, "given without size, or None beside it")
    check(image.ndim in (2, 3) and image.size > 0, "imresize", "image", list(image.shape), "[H, W] or [H, W, C]")
    if scale is not None:
        check(0 < scale < math.inf, "imresize", "scale", scale, "positive")
        scales = (float(scale), float(scale))
        lengths = tuple(math.ceil(length * scale) for length in image.shape[:2])
    else:
        check(min(size) >= 1, "imresize", "size", list(size), "two positive numbers")
        lengths = (int(size[0]), int(size[1]))
        scales = tuple(new / old for new, old in zip(lengths, image.shape[:2], strict=True))
    is_bytes = image.dtype == np.uint8
    result = np.asarray(image, np.float64)
    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):
        weights = _matrix(image.shape[axis], lengths[axis], scales[axis], border, antialias)
        result = _along(weights, result, axis)
        if is_bytes:
            result = _to_bytes(result)
    return result.astype(np.uint8) if is_bytes else result


class ImresizeByRows:
    """`imresize` of one image by one scale, some rows of the result at a time: equal to it to the last bit.

    Args:
        height: of the image.
        width: of the image.
        scale: of both axes.
        border: see `imresize`.

    Attributes:
        size: rows and columns of the result.
    """

    def __init__(self, height: int, width: int, scale: float, *, border: Border = "symmetric"):
        self.size = tuple(math.ceil(length * scale) for length in (height, width))
        self._rows = _matrix(height, self.size[0], float(scale), border, True)
        self._columns = _matrix(width, self.size[1], float(scale), border, True)

    def reads(self, top: int, bottom: int) -> tuple[int, int]:
        """The rows of the image, from and up to, that rows `top` up to `bottom` of the result are made of."""
        indices = self._rows[top:bottom].indices
        return int(indices.min()), int(indices.max()) + 1

    def __call__(self, part: np.ndarray, top: int, bottom: int) -> np.ndarray:
        """Rows `top` up to `bottom` of the result, float64 [bottom - top, W, C], of the rows that `reads` names, [h, w, C]."""
        first, last = self.reads(top, bottom)
        rows = _along(self._rows[top:bottom, first:last], np.asarray(part, np.float64), 0)
        return _along(self._columns, rows, 1)


def taps(length: int, new: int, scale: float, *, border: Border = "symmetric", antialias: bool = True):
    """Which pixels of an axis make each new one, and with what weights.

    Args:
        length: pixels there are.
        new: pixels there will be.
        scale: of the axis.
        border: see `imresize`.
        antialias: likewise.

    Returns:
        (weights float64 [new, taps], indices from 0 int64 [new, taps]); columns without any weight are left out.
    """
    shrinking = scale if antialias and scale < 1 else 1.0
    width = 4.0 / shrinking
    centre = np.arange(1, new + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - width / 2)
    index = left[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrinking * _cubic(shrinking * (centre[:, None] - index))
    weights /= weights.sum(axis=1, keepdims=True)
    place = index.astype(np.int64) - 1
    if border == "replicate":
        place = place.clip(0, length - 1)
    else:
        place = place % (2 * length)
        place = np.where(place < length, place, 2 * length - 1 - place)
    used = weights.any(axis=0)
    return weights[:, used], place[:, used]


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """An image [H, W, …] without the last rows and columns that are no multiple of `scale` (a view).

    Raises:
        ConfigError: nothing would be left.
    """
    height, width = (length - length % scale for length in image.shape[:2])
    check(min(height, width) > 0, "modcrop", "image", list(image.shape), f"{scale} pixels a side or more")
    return image[:height, :width]


def _cubic(t: np.ndarray) -> np.ndarray:
    t = np.abs(t)
    square = t * t  # in this order of operations: bytes are rounded from sums that may end in a half
    cube = square * t
    near = 1.5 * cube - 2.5 * square + 1
    far = -0.5 * cube + 2.5 * square - 4 * t + 2
    return np.where(t <= 1, near, np.where(t <= 2, far, 0.0))


@lru_cache(maxsize=64)
def _matrix(length: int, new: int, scale: float, border: str, antialias: bool) -> sparse.csr_matrix:
    """[new, length]: one axis of the resizing."""
    weights, place = taps(length, new, scale, border=border, antialias=antialias)
    rows = np.repeat(np.arange(new), place.shape[1])
    return sparse.csr_matrix((weights.ravel(), (rows, place.ravel())), shape=(new, length))


def _along(weights: sparse.csr_matrix, image: np.ndarray, axis: int) -> np.ndarray:
    """The product along an axis of [H, W] or [H, W, C]."""
    moved = np.moveaxis(image, axis, 0)
    result = weights @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
    return np.moveaxis(result.reshape(-1, *moved.shape[1:]), 0, axis)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    """Rounded half away from zero and clipped to 0..255, still float64."""
    image = image.clip(0, 255)
    whole = np.floor(image)
    return whole + (image - whole >= 0.5)
