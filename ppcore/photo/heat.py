"""A map of numbers painted over an image."""

import cv2
import numpy as np


def unit_range(values: np.ndarray) -> np.ndarray:
    """Returns [h, w] stretched to 0..1 for display; a flat map gives zeros."""
    low, high = float(values.min()), float(values.max())
    return np.zeros_like(values, np.float64) if high <= low else (values - low) / (high - low)


def overlay(image: np.ndarray, values: np.ndarray, *, strength: float = 0.6) -> np.ndarray:
    """Paints a map over an image: places of large values turn warm, of small ones grey and dark.

    Args:
        image: uint8 [H, W, 3] RGB.
        values: [h, w] in 0..1, stretched bilinearly over the image.
        strength: 0 leaves the image, 1 shows the map alone.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = np.clip(heat, 0.0, 1.0)
    colours = cv2.applyColorMap(np.uint8(np.rint(heat * 255)), cv2.COLORMAP_INFERNO)[..., ::-1]  # BGR -> RGB
    mixed = (1 - strength) * image.astype(np.float32) + strength * colours.astype(np.float32)
    return np.uint8(np.rint(np.clip(mixed, 0, 255)))
