"""Finishing an image in strips, for networks that split into a global trunk and a local tail.

The trunk (everything that looks at the whole image, at a fraction of its size) runs once. The tail,
whose full-size maps need most of the memory, runs on strips of rows, each with as many rows of its
neighbours as the tail looks at; these are computed twice and thrown away once. The result is the
untiled one: there is nothing to blend.
"""

from collections.abc import Iterator

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import reflect_to
from ppcore.model import traits


def strips(rows: int, of: int, size: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """Cuts the first `rows` of a map with `of` rows into strips of `size`.

    Yields:
        Beginning and end of a strip, and both with up to `halo` rows of the map around it.
    """
    for begin in range(0, rows, size):
        end = min(begin + size, rows)
        yield begin, end, max(begin - halo, 0), min(end + halo, of)


@paddle.no_grad()
def run_tiled(model: nn.Layer, x: paddle.Tensor, tile: int) -> np.ndarray:
    """`model(x)` with the tail in strips.

    Args:
        model: in evaluation mode, with `factor`, `padded_size`, `trunk`, `tail` and `tail_reach` (rows of full size
            that the tail's convolutions look at above and below their own).
        x: [B, 3, H, W].
        tile: rows of full size at a time, rounded up to a multiple of `factor`.

    Returns:
        float32 [B, 3, H, W].

    Raises:
        ConfigError: the model does not split.
    """
    if not traits(model).splits:
        raise ConfigError(f"Infer.tile: {type(model).__name__} does not split into a trunk and a tail; leave it out")
    batch, _, height, width = x.shape
    factor = model.factor
    # One more low-resolution row than the tail's convolutions reach, for the interpolation.
    halo = -(-model.tail_reach // factor) + 1
    y_low, features = model.trunk(reflect_to(x, *model.padded_size(height, width)))
    y = np.empty((batch, 3, height, width), np.float32)
    for begin, end, outer, outer_end in strips(-(-height // factor), y_low.shape[2], -(-tile // factor), halo):
        part = model.tail(y_low[:, :, outer:outer_end], features[:, :, outer:outer_end])
        top, bottom = begin * factor, min(end * factor, height)
        y[:, :, top:bottom] = part[:, :, top - outer * factor : bottom - outer * factor, :width].numpy()
    return y
