"""Canny edges of a well-lit image: what SMG's edge branch learns to see in the dark one."""

from typing import Any

import cv2
import numpy as np

from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError

_LOW, _HIGH = 0.67, 1.33  # thresholds, times the median


def canny_edges(image: np.ndarray) -> np.ndarray:
    """Edges of an image by OpenCV, in SMG's steps.

    Grey; Gaussian blur 3x3; the median v; Canny with thresholds int(0.67 v) and int(min(255, 1.33 v)); dilation 3x3.

    Args:
        image: uint8 [H, W, 3] RGB.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        ConfigError: the image is of another type.
    """
    if image.dtype != np.uint8:
        raise ConfigError(f"canny_edges: got {image.dtype} pixels, but takes uint8")
    grey = cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), (3, 3), 0)
    middle = float(np.median(grey))
    edges = cv2.Canny(grey, int(_LOW * middle), int(min(255.0, _HIGH * middle)))
    return cv2.dilate(edges, np.ones((3, 3), np.uint8))


class CannyEdges:
    """Adds `edges`, float32 [1, H, W], 0 or 1, of the sample's `target`. It stands after all that moves pixels and
    before `ppcore.data.PairToFloat`.

    Raises:
        ConfigError: when called: the samples have no target, or one that is no longer uint8 or uint16.
    """

    on_sample = True

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
        if "target" not in sample:
            raise ConfigError("CannyEdges: the samples have no target: use it with a dataset of pairs")
        target = pixels_of(sample["target"])
        eight = (target >> 8).astype(np.uint8) if target.dtype == np.uint16 else target
        return {**sample, "target": target, "edges": np.float32(canny_edges(eight)[None] > 0)}
