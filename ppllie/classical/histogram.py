"""Histogram equalisation, of the whole image and of tiles (CLAHE)."""

from typing import Literal

import cv2
import numpy as np

from ppllie.classical.method import ClassicalMethod

Planes = Literal["luma", "channels"]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_TOP = 65535


class HistogramEqualization(ClassicalMethod):
    """Each level goes to the share of pixels at or below it (Gonzalez and Woods, Digital Image Processing, §3.3).

    The darkest level goes to 0, as in OpenCV. Levels are 16-bit, so photographs of that depth keep it;
    8-bit ones get what 8-bit code gives them.

    Args:
        planes: `luma`: BT.601 luma is equalised and chroma (YCbCr) kept. `channels`: R, G and B each on its
            own, which also pulls the colours towards grey.
    """

    def __init__(self, *, planes: Planes = "luma"):
        super().__init__()
        self.planes = _checked(planes)

    def enhance(self, image: np.ndarray) -> np.ndarray:
        return _applied(equalize, image, self.planes)


class CLAHE(ClassicalMethod):
    """Contrast-limited adaptive histogram equalisation (Pizer et al. 1987; Zuiderveld 1994), by OpenCV.

    Its histograms have 256 levels; the change they ask for is added to the image in full depth.

    Args:
        clip_limit: largest bin of a tile over the mean bin.
        tiles: tiles across and down; fewer where the image has fewer pixels.
        planes: as for `HistogramEqualization`.
    """

    def __init__(self, *, clip_limit: float = 4.0, tiles: int = 8, planes: Planes = "luma"):
        super().__init__()
        if not clip_limit > 0.0 or tiles < 1:
            raise ValueError(f"clip_limit {clip_limit} must be above 0, tiles {tiles} at least 1")
        self.clip_limit, self.tiles, self.planes = clip_limit, tiles, _checked(planes)

    def enhance(self, image: np.ndarray) -> np.ndarray:
        return _applied(self._plane, image, self.planes)

    def _plane(self, plane: np.ndarray) -> np.ndarray:
        levels = np.rint(plane * 255).astype(np.uint8)
        height, width = plane.shape
        clahe = cv2.createCLAHE(self.clip_limit, (min(self.tiles, width), min(self.tiles, height)))
        return plane + (clahe.apply(levels).astype(np.float32) - levels) / 255


def equalize(plane: np.ndarray) -> np.ndarray:
    """Equalises one plane [H, W] in [0, 1]; a flat one stays as it is."""
    levels = np.rint(plane * _TOP).astype(np.int64)
    counts = np.bincount(levels.ravel(), minlength=_TOP + 1)
    at_or_below = np.cumsum(counts)
    darkest = counts[levels.min()]
    if darkest == levels.size:
        return plane
    shares = (at_or_below - darkest) / (levels.size - darkest)
    return shares.astype(np.float32)[levels]


def _checked(planes: str) -> str:
    if planes not in ("luma", "channels"):
        raise ValueError(f"planes must be 'luma' or 'channels', not {planes!r}")
    return planes


def _applied(change, image: np.ndarray, planes: str) -> np.ndarray:
    """Applies a change of planes [H, W] to R, G and B, or to luma with Cb and Cr kept."""
    if planes == "channels":
        return np.stack([change(np.ascontiguousarray(image[..., c])) for c in range(3)], axis=-1)
    luma = np.clip(image @ _LUMA, 0.0, 1.0)
    return image + (change(luma) - luma)[..., None]  # Cb and Cr are differences to luma: they stay
