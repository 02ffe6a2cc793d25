"""An image finished tile by tile, which bounds memory.

What looks at the whole image, at a fraction of its size, runs once. What looks at a neighbourhood only, and whose
full-size maps need most of the memory, runs on tiles, each with as much around it as it looks at; that is computed
twice and thrown away once. The result is that of the whole: there is nothing to blend.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ppcore.deploy.export_spec import TileRule
from ppcore.errors import ConfigError
from ppcore.model import traits

if TYPE_CHECKING:
    import paddle
    from paddle import nn

PIXELS = 2**20  # of a tile's output when no size is asked for


class Tile(NamedTuple):
    """A part of an axis: `begin` to `end` is what it gives, `start` to `stop` what it reads."""

    begin: int
    end: int
    start: int
    stop: int


def plan(length: int, size: int, halo: int, *, there: int | None = None, alike: bool = False) -> Iterator[Tile]:
    """Cuts an axis into tiles that read up to `halo` more on either side.

    Args:
        length: of the axis, from its beginning, that the tiles give.
        size: that a tile gives.
        halo: what it reads beyond.
        there: how much there is to read, if more than `length`.
        alike: whether all tiles read the same length (the last ones begin earlier), for an engine that prepares for one.
    """
    there = there or length
    window = min(size + 2 * halo, there)
    for begin in range(0, length, size):
        end = min(begin + size, length)
        start, stop = max(begin - halo, 0), min(end + halo, there)
        if alike:
            start = min(start, there - window)
            stop = start + window
        yield Tile(begin, end, start, stop)


def in_tiles(
    rule: TileRule, inputs: dict[str, np.ndarray], stage: Callable[[dict], np.ndarray], tile: int | None
) -> np.ndarray:
    """The output of a stage that depends on a neighbourhood only.

    Args:
        rule: how to cut.
        inputs: whole, by name; maps [B, ...].
        stage: computes the output of a tile.
        tile: output pixels a tile gives along the cut axis; None makes it about a megapixel.
    """
    first = next(iter(inputs.values()))
    length = first.shape[rule.axis]
    if tile is None:
        across = first.size // (first.shape[0] * length * first.shape[rule.channels]) * rule.scale
        tile = max(PIXELS // across, 1)
    out = None
    for begin, end, start, stop in plan(length, -(-tile // rule.scale), rule.halo, alike=True):
        part = stage({name: array[_along(rule.axis, start, stop)] for name, array in inputs.items()})
        if out is None:
            shape = list(part.shape)
            shape[rule.output_axis] = length * rule.scale
            out = np.empty(shape, np.float32)
        target, source = (
            _along(rule.output_axis, (begin - origin) * rule.scale, (end - origin) * rule.scale)
            for origin in (0, start)
        )
        out[target] = part[source]
    return out


def _along(axis: int, begin: int, end: int) -> tuple[slice, ...]:
    """An index that takes begin..end of one axis and everything of those before and after."""
    return (*(slice(None),) * axis, slice(begin, end))


def run_eager(model: "nn.Layer", x: "paddle.Tensor", tile: int) -> np.ndarray:
    """`model(x)` tile by tile, or its tail where it has a trunk; gradients are off where the caller has turned them off.

    Args:
        model: in evaluation mode, with `factor`, `padded_size`, `trunk`, `tail` and `tail_reach` (rows of full size
            that the tail's convolutions look at above and below their own); or else with `reach`.
        x: [B, C, H, W].
        tile: rows of the result at a time, rounded up to a multiple of `factor`, or of `scale`.

    Returns:
        float32 [B, C, H', W'].

    Raises:
        ConfigError: the model has neither.
    """
    import paddle

    about = traits(model)
    if about.splits:
        return _tail_in_tiles(model, x, tile)
    if about.reach is None:
        raise ConfigError(f"Infer.tile: {type(model).__name__} does not split into a trunk and a tail; leave it out")
    rule = TileRule(stage="", axis=2, channels=1, output_axis=2, scale=about.scale, halo=about.reach)
    return in_tiles(rule, {"x": x.numpy()}, lambda part: model(paddle.to_tensor(part["x"])).numpy(), tile)


def _tail_in_tiles(model: "nn.Layer", x: "paddle.Tensor", tile: int) -> np.ndarray:
    from ppcore.layers import reflect_to

    batch, _, height, width = x.shape
    factor = model.factor
    # One more low-resolution row than the tail's convolutions reach, for the interpolation.
    halo = -(-model.tail_reach // factor) + 1
    y_low, features = model.trunk(reflect_to(x, *model.padded_size(height, width)))
    y = np.empty((batch, 3, height, width), np.float32)
    rows, padded = -(-height // factor), y_low.shape[2]
    for begin, end, start, stop in plan(rows, -(-tile // factor), halo, there=padded):
        part = model.tail(y_low[:, :, start:stop], features[:, :, start:stop])
        top, bottom = begin * factor, min(end * factor, height)
        y[:, :, top:bottom] = part[:, :, top - start * factor : bottom - start * factor, :width].numpy()
    return y
