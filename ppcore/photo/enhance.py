"""A photograph through a network that makes images: full bit depth in, full bit depth out."""

from collections.abc import Callable

import numpy as np

from ppcore.errors import DataError
from ppcore.photo.photograph import Photograph

# Rows turned into integers at a time, so that the float result needs no second copy.
_ROWS = 256


def enhance(compute: Callable[[np.ndarray], np.ndarray], photo: Photograph, name: str) -> Photograph:
    """The photograph with the pixels that a network [1, 3, H, W] -> [1, 3, H, W] makes of it.

    Raises:
        DataError: the network's result is not finite.
    """
    most = np.iinfo(photo.pixels.dtype).max
    rgb = photo.rgb()
    x = np.empty((1, 3, *rgb.shape[:2]), np.float32)
    for channel in range(3):
        np.divide(rgb[:, :, channel], np.float32(most), out=x[0, channel], dtype=np.float32)
    y = compute(x)
    del x
    out = np.empty(rgb.shape, photo.pixels.dtype)
    for top in range(0, len(out), _ROWS):
        rows = np.clip(y[0, :, top : top + _ROWS].astype(np.float32, copy=False), 0, 1)
        if not np.isfinite(rows).all():  # clip keeps NaN, which would become an arbitrary integer
            raise DataError(
                f"{name}: the network's result is not finite; check the weights, or use Infer.precision=fp32"
            )
        # Where the metrics round: a product in float32 may become a half, and some samples the step beside.
        out[top : top + _ROWS] = np.rint(rows.astype(np.float64) * most).transpose(1, 2, 0)
    return photo.with_rgb(out)
