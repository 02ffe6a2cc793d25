"""The table of a bias for each relative position in a window: where its entries go, and how it is resized.

A table has a row for each offset (down, across) between two tokens of a window, across fastest, and a column for each head.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

from ppcore.errors import ConfigError, nearest
from ppcore.layers.pos_embed import MATRICES

BiasMode = Literal["swin_bicubic", "timm_geometric"]


@lru_cache(maxsize=64)
def relative_position_index(window: tuple[int, int]) -> np.ndarray:
    """The row of the table for query i and key j, int64 [N, N]."""
    down, across = window
    y, x = (axis.reshape(-1) for axis in np.indices(window))
    return (y[:, None] - y[None] + down - 1) * (2 * across - 1) + x[:, None] - x[None] + across - 1


def geometric_places(new: int, old: int) -> np.ndarray:
    """Where timm puts the `old` offsets of an axis among `new` ones: ±(1 + q + q² + …), float64 [old].

    q lies in [1.01, 1.5], so that the outermost offset comes to about (new - 1) / 2: offsets near 0 keep their values, those
    far away are spread. To shrink, q stops at 1.01, and the table is nearly cropped.
    """
    count, reach = old // 2, new // 2
    low, high, q = 1.01, 1.5, 1.01
    while high - low > 1e-6:
        q = (low + high) / 2
        low, high = (low, q) if (1 - q**count) / (1 - q) > reach else (q, high)
    steps = np.cumsum(q ** np.arange(count))
    return np.concatenate([-steps[::-1], [0.0], steps])


def _geometric(new: int, old: int) -> np.ndarray:
    """Weights [new, old] of a linear interpolation between uneven places."""
    if old == 1:
        return np.ones((new, 1))
    places, wanted = geometric_places(new, old), np.arange(new) - (new - 1) / 2
    left = np.clip(np.searchsorted(places, wanted, side="right") - 1, 0, old - 2)
    share = (wanted - places[left]) / (places[left + 1] - places[left])
    weights, rows = np.zeros((new, old)), np.arange(new)
    weights[rows, left], weights[rows, left + 1] = 1 - share, share
    return weights


BIAS_MATRICES = {
    # Swin's fine-tuning: torch bicubic, half-pixel centres, a = -0.75, no antialias.
    "swin_bicubic": MATRICES["deit_bicubic"],
    # timm's loader, from BEiT's: linear between places that are a geometric progression.
    "timm_geometric": _geometric,
}


def resize_bias_table(
    table: np.ndarray, old_window: tuple[int, int], new_window: tuple[int, int], mode: BiasMode
) -> np.ndarray:
    """Resamples a table to another window.

    Args:
        table: [(2h-1)·(2w-1), heads].
        old_window: (h, w) it is for.
        new_window: (h', w') it shall be for.
        mode: whose way, a key of `BIAS_MATRICES`.

    Returns:
        [(2h'-1)·(2w'-1), heads] in the dtype of `table`.

    Raises:
        ConfigError: unknown mode.
        ValueError: the table is not one of `old_window`.
    """
    if mode not in BIAS_MATRICES:
        known = ", ".join(BIAS_MATRICES)
        raise ConfigError(f"bias mode is {mode!r}{nearest(str(mode), BIAS_MATRICES)}, but must be one of {known}")
    (tall, wide), (rows, columns) = ([2 * side - 1 for side in window] for window in (old_window, new_window))
    if table.ndim != 2 or len(table) != tall * wide:
        raise ValueError(f"the table has shape {table.shape}, expected ({tall * wide}, heads) for window {old_window}")
    if tuple(old_window) == tuple(new_window):
        return table.copy()
    down, across = BIAS_MATRICES[mode](rows, tall), BIAS_MATRICES[mode](columns, wide)
    offsets = table.astype(np.float64).reshape(tall, wide, -1)
    resized = np.einsum("ih,jw,hwk->ijk", down, across, offsets, optimize=True)
    return resized.reshape(rows * columns, -1).astype(table.dtype)
