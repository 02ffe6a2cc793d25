"""The last stage of an export piece by piece, which bounds its memory."""

from collections.abc import Callable

import numpy as np

from ppcore.deploy.rules import Strips

PIXELS = 2**20  # of a piece's output when no size is asked for


def run(
    rule: Strips, inputs: dict[str, np.ndarray], stage: Callable[[dict], np.ndarray], tile: int | None
) -> np.ndarray:
    """The output of a stage that depends on a neighbourhood only, computed in pieces.

    All pieces have one size (the last one begins earlier), so that an engine prepares for one.

    Args:
        rule: how to cut.
        inputs: whole, by name; maps [B, ...].
        stage: computes the output of a piece.
        tile: output pixels a piece gives along the cut axis; None makes it about a megapixel.
    """
    first = next(iter(inputs.values()))
    length = first.shape[rule.axis]
    if tile is None:
        across = first.size // (first.shape[0] * length * first.shape[rule.channels]) * rule.scale
        tile = max(PIXELS // across, 1)
    step = -(-tile // rule.scale)
    window = min(step + 2 * rule.halo, length)
    out = None
    for begin in range(0, length, step):
        end = min(begin + step, length)
        start = min(max(begin - rule.halo, 0), length - window)
        cut = along(rule.axis, start, start + window)
        piece = stage({name: array[cut] for name, array in inputs.items()})
        if out is None:
            shape = list(piece.shape)
            shape[rule.output_axis] = length * rule.scale
            out = np.empty(shape, np.float32)
        target, source = ((begin - origin, end - origin) for origin in (0, start))
        out[along(rule.output_axis, *(place * rule.scale for place in target))] = piece[
            along(rule.output_axis, *(place * rule.scale for place in source))
        ]
    return out


def along(axis: int, begin: int, end: int) -> tuple[slice, ...]:
    """An index that takes begin..end of one axis and everything of those before and after."""
    return (*(slice(None),) * axis, slice(begin, end))
