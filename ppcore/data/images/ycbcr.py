"""Luma and colour as MATLAB's `rgb2ycbcr` has them (BT.601 of 16 to 235), and the other Ys that figures were published with."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ppcore.data.ranges import check_choice
from ppcore.metrics.psnr_ssim import FULL

YName = Literal["matlab", "slip", "full"]
Y_NAMES = ("matlab", "slip", "full")

# Rows Y, Cb, Cr of R, G, B, each of 0..255. Times the reciprocal, not divided: see `rgb2ycbcr`.
_MATRIX = np.array([(65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)]) * (1 / 255)
_OFFSET = (16.0, 128.0, 128.0)
# For 0..255, over 256. The first coefficient of a widely copied Y is 64.738 where 65.738 is meant: too low by R / 256.
_SLIP = np.array([64.738, 129.057, 25.064]) / 256


def rgb2ycbcr(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] RGB to YCbCr: floating point in [0, 1] to float64, uint8 to uint8, rounded once.

    A few colours have a Y that ends in a half. Multiplied and added as here, some come out just below it, as MATLAB's do: its
    figures for the bicubic images of Set5 follow to the last digit, otherwise to 6e-5 dB.
    """
    values = image if image.dtype == np.uint8 else np.asarray(image, np.float64) * 255.0
    planes = np.stack([_mixed(values, row, offset) for row, offset in zip(_MATRIX, _OFFSET, strict=True)], axis=-1)
    return _rounded(planes).astype(np.uint8) if image.dtype == np.uint8 else planes / 255.0


def ycbcr2rgb(image: np.ndarray) -> np.ndarray:
    """The inverse for floating point [H, W, 3], clipped to [0, 1]; float64."""
    back = (np.asarray(image, np.float64) - np.array(_OFFSET) / 255) @ np.linalg.inv(_MATRIX).T
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
    values = image if image.dtype == np.uint8 else np.asarray(image, np.float64) * 255.0
    if image.ndim == 2:
        y = np.asarray(values, np.float64)
    elif kind == "full":
        y = _mixed(values, FULL)
    else:
        y = _mixed(values, _SLIP if kind == "slip" else _MATRIX[0], 16.0)
    return (_rounded(y) if y8 else y) / 255.0


def _mixed(values: np.ndarray, weights: Sequence[float], offset: float = 0.0) -> np.ndarray:
    """The weighted sum [H, W] of channels of 0..255, float64, in this order."""
    red, green, blue = (np.asarray(values[..., channel], np.float64) for channel in range(3))
    return weights[0] * red + weights[1] * green + weights[2] * blue + offset


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.floor(values + 0.5)
