"""Cutting a map of tokens into windows: which window, which shift, which token goes where, what sees what.

Everything here is a function of sizes alone, in numpy, and kept: the blocks of a stage, and models of a size, share it.
Sizes are pairs (down, across). Windows lie row by row, and so do the tokens in a window.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

Pair = tuple[int, int]
# How a published code treats a map that is small, oblong or not a whole number of windows.
WindowRule = Literal["official", "timm", "detection"]
RULES = ("official", "timm", "detection")
# Added to the score of a pair that must not meet; so in every published code, and not minus infinity.
MASKED = -100.0


def window_and_shift(grid: Pair, window: int, rule: WindowRule) -> tuple[Pair, Pair]:
    """The window that a stage has, and the shift of its every other block.

    Args:
        grid: tokens of the map.
        window: side that was asked for.
        rule: `official` (Swin's classification code): where the smaller side of the map is no longer than the window, the
            window is that side and there is no shift, on both axes; `timm`: the same for each axis alone; `detection`
            (Swin's detection code): window and shift are as asked, whatever the map.
    """
    if rule == "official" and min(grid) <= window:
        return (min(grid), min(grid)), (0, 0)
    if rule == "timm":
        sides = tuple(min(size, window) for size in grid)
        return sides, tuple(0 if size <= window else window // 2 for size in grid)
    return (window, window), (window // 2, window // 2)


def padded(grid: Pair, window: Pair) -> Pair:
    """The map's size when it is made a whole number of windows."""
    return tuple(-(-size // side) * side for size, side in zip(grid, window, strict=True))


def _cut(array: np.ndarray, window: Pair) -> np.ndarray:
    """[H, W] -> [windows, tokens of a window]."""
    (height, width), (down, across) = array.shape, window
    parts = array.reshape(height // down, down, width // across, across)
    return parts.transpose(0, 2, 1, 3).reshape(-1, down * across)


@lru_cache(maxsize=256)
def window_order(grid: Pair, window: Pair, shift: Pair, *, pad_first: bool) -> np.ndarray:
    """The token at each place of the windows of a map that is rolled by -shift.

    Args:
        grid: of the map; it is padded at its bottom and right.
        pad_first: whether it is padded before it is rolled (Swin's detection code) or after (timm, whose mask then does
            not keep all that wraps around apart). The same for a whole number of windows.

    Returns:
        int64 [windows · window's tokens]: H·W for a place that is padding.
    """
    height, width = grid
    tall, wide = padded(grid, window)
    tokens = np.arange(height * width).reshape(height, width)
    back = (-shift[0], -shift[1])
    if not pad_first:
        tokens = np.roll(tokens, back, (0, 1))
    tokens = np.pad(tokens, ((0, tall - height), (0, wide - width)), constant_values=height * width)
    if pad_first:
        tokens = np.roll(tokens, back, (0, 1))
    return _cut(tokens, window).reshape(-1)


def inverse_order(order: np.ndarray, size: int) -> np.ndarray:
    """The place of each of `size` tokens in an order, int64 [size]; padding has none."""
    places = np.empty(size, np.int64)
    real = np.flatnonzero(order < size)
    places[order[real]] = real
    return places


@lru_cache(maxsize=64)
def shift_mask(grid: Pair, window: Pair, shift: Pair) -> np.ndarray | None:
    """What is added to the scores of a shifted map, float32 [windows, N, N]: 0, or -100 for what was not adjacent.

    Rolled by -shift, the last windows of a row hold tokens of both ends. The rolled map is labelled by regions, of which
    each axis has three: before the last window, in it, and what came round; only tokens of one region see each other.
    None where nothing is shifted.
    """
    if not any(shift):
        return None

    def regions(size: int, side: int, by: int) -> np.ndarray:
        place = np.arange(size)
        return (place >= size - side).astype(int) + (place >= size - by) if by else np.zeros(size, int)

    tall, wide = padded(grid, window)
    rows, columns = regions(tall, window[0], shift[0]), regions(wide, window[1], shift[1])
    labels = _cut(3 * rows[:, None] + columns[None], window)  # [windows, N]
    return np.where(labels[:, :, None] == labels[:, None, :], 0, MASKED).astype(np.float32)
