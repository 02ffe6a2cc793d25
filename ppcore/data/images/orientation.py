"""EXIF orientation: pixels as they are stored, and as they are to be looked at."""

import numpy as np


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of stored pixels [H, W, …] as they are to be looked at, for an EXIF orientation of 1 to 8."""
    if orientation >= 5:  # 5 transposed, 6 rotated right, 7 transposed the other way, 8 rotated left
        pixels = pixels.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    mirrored = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if mirrored else 1]


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `upright`."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
