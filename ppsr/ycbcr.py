"""Luma and colour as MATLAB's `rgb2ycbcr` has them (BT.601 of 16 to 235), and the other Ys that figures were published with."""

from typing import Literal

import numpy as np

from ppcore.data.ranges import check_choice
from ppcore.metrics.psnr_ssim import FULL, STUDIO

YName = Literal["matlab", "slip", "full"]
Y_NAMES = ("matlab", "slip", "full")

# Rows Y, Cb, Cr of R, G, B in [0, 1]; what is added.
_MATRIX = np.array([STUDIO, (-37.797 / 255, -74.203 / 255, 112 / 255), (112 / 255, -93.786 / 255, -18.214 / 255)])
_OFFSET = np.array([16.0, 128.0, 128.0]) / 255
# For 0..255, over 256. The first coefficient of a widely copied Y is 64.738 where 65.738 is meant: too low by R / 256.
_SLIP = np.array([64.738, 129.057, 25.064]) / 256


def rgb2ycbcr(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] RGB to YCbCr: floating point in [0, 1] to float64, uint8 to uint8, rounded once."""
    if image.dtype == np.uint8:
        return np.floor(rgb2ycbcr(image / 255.0) * 255.0 + 0.5).astype(np.uint8)
    return np.asarray(image, np.float64) @ _MATRIX.T + _OFFSET


def ycbcr2rgb(image: np.ndarray) -> np.ndarray:
    """The inverse for floating point [H, W, 3], clipped to [0, 1]; float64."""
    back = (np.asarray(image, np.float64) - _OFFSET) @ np.linalg.inv(_MATRIX).T
    return back.clip(0.0, 1.0)


def y_of(image: np.ndarray, kind: YName = "matlab", *, y8: bool = False) -> np.ndarray:
    """Y [H, W] of an image, float64 in [0, 1]. A grey image [H, W] is its own Y, as in MATLAB's tests.

    Args:
        image: uint8 or floating point in [0, 1], [H, W, 3] or [H, W].
        kind: `matlab`; `slip`, the one with 64.738 for 65.738 that a re-implementation measures with; `full`, of 0 to 255.
        y8: whether it is rounded to 8 bits.

    Raises:
        ConfigError: there is no such kind.
    """
    check_choice("y_of", "kind", kind, Y_NAMES)
    y = image / 255.0 if image.dtype == np.uint8 else np.asarray(image, np.float64)
    if y.ndim == 3 and kind == "full":
        y = y @ np.array(FULL)
    elif y.ndim == 3:
        y = y @ (_SLIP if kind == "slip" else np.array(STUDIO)) + 16 / 255
    return np.floor(y * 255.0 + 0.5) / 255.0 if y8 else y
