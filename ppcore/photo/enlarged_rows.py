"""Planes of a photograph enlarged by bicubic interpolation, some rows at a time: none is whole in float64."""

from collections.abc import Callable

import numpy as np

from ppcore.data.images.matlab_resize import ImresizeByRows
from ppcore.data.images.ycbcr import rgb2ycbcr, y_of, ycbcr2rgb

Planes = Callable[[np.ndarray], np.ndarray]  # rows in 0..1, float64 [h, W, C], to planes [h, W, K]


def luma(rows: np.ndarray) -> np.ndarray:
    """Y [h, W, 1] of colours or of grey, which is its own."""
    return rows if rows.shape[2] == 1 else y_of(rows)[..., None]


def chroma(rows: np.ndarray) -> np.ndarray:
    """Cb and Cr [h, W, 2] of colours."""
    return rgb2ycbcr(rows)[..., 1:]


def colours(y: np.ndarray, others: np.ndarray) -> np.ndarray:
    """RGB [h, W, 3] in 0..1, float64, of Y [h, W, 1], Cb and Cr."""
    return ycbcr2rgb(np.concatenate([y, others], axis=2))


class EnlargedRows:
    """Rows of planes, enlarged as MATLAB does (mirrored at the border), not cut at 0 and 1.

    Args:
        pixels: unsigned integers [H, W, C].
        scale: of both sides; 1 leaves the planes as they are.
        planes: what is enlarged; None: the pixels, in 0..1.
    """

    def __init__(self, pixels: np.ndarray, scale: float, planes: Planes | None = None):
        self.pixels, self.planes = pixels, planes or (lambda rows: rows)
        self.resize = None if scale == 1 else ImresizeByRows(*pixels.shape[:2], scale)

    def __call__(self, top: int, bottom: int) -> np.ndarray:
        """Rows `top` up to `bottom` of the result, float64 [bottom - top, W, K]."""
        first, last = (top, bottom) if self.resize is None else self.resize.reads(top, bottom)
        part = self.planes(self.pixels[first:last] / np.float64(np.iinfo(self.pixels.dtype).max))
        return part if self.resize is None else self.resize(part, top, bottom)
