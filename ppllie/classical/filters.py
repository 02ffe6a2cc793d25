"""Smoothing that the classical methods share: wide Gaussians and the guided filter."""

import cv2
import numpy as np

_WIDEST = 8.0  # sigma in pixels up to which a Gaussian is applied at full size


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W] or [H, W, C] float32, edges mirrored.

    A wide one is applied to a smaller image and enlarged again: after a blur of 250 pixels no eye nor
    ruler finds the difference, and a 4K image takes a fraction of a second instead of minutes.
    """
    height, width = image.shape[:2]
    step = max(1, min(int(sigma / _WIDEST), height, width))
    if step == 1:
        return _blur(image, sigma)
    size = (-(-width // step), -(-height // step))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    blurred = _blur(small, sigma / step)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred.reshape(image.shape)


def guided_filter(guide: np.ndarray, plane: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Smooths `plane` [H, W] except where `guide` [H, W] has edges (He et al. 2013, grey guide).

    Args:
        guide: in [0, 1].
        plane: what is smoothed.
        radius: of the square window, in pixels.
        epsilon: variance of the guide below which a window counts as flat.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        side = 2 * radius + 1
        return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)

    # Differences of second moments: float64 keeps them from cancelling.
    guide, plane = guide.astype(np.float64), plane.astype(np.float64)
    mean_guide, mean_plane = mean(guide), mean(plane)
    covariance = mean(guide * plane) - mean_guide * mean_plane
    slope = covariance / (mean(guide * guide) - mean_guide**2 + epsilon)
    offset = mean_plane - slope * mean_guide
    return (mean(slope) * guide + mean(offset)).astype(np.float32)
