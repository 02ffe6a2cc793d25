"""Maps and images as the small pictures of a figure: uint8 [H, W, 3]."""

import cv2
import numpy as np

from ppcore.photo.heat import unit_range


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Values in 0..1 (clipped) as uint8, rounded."""
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    """A map [H, W] stretched to its whole range, as RGB."""
    return np.repeat(to_bytes(unit_range(values))[..., None], 3, axis=2)


def stretched(image: np.ndarray) -> np.ndarray:
    """A normalised image [C, H, W], C 1 or 3, stretched to its whole range, as RGB [H, W, 3]."""
    return to_bytes(unit_range(np.broadcast_to(image, (3, *image.shape[1:])))).transpose(1, 2, 0)


def enlarged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (width, height), pixels kept visible when it grows."""
    grows = size[0] > image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if grows else cv2.INTER_AREA)
