"""Fixed sine and cosine positions of a grid of patches."""

import numpy as np

from ppcore.errors import ConfigError


def sincos_positions(dim: int, grid: tuple[int, int], *, num_prefix_tokens: int = 1) -> np.ndarray:
    """Position embedding that is not learned: float64 [1, prefix + h·w, D], zeros for the prefix tokens.

    The first half of the channels says the column, the second half the row; each half is D/4 sines, then D/4 cosines, of the
    place times 10000^(-i / (D/4)) (MAE; MoCo v3 has the halves alike). A square grid looks right with the halves exchanged,
    too, but not to weights that were trained with it.

    Args:
        dim: channels, a multiple of 4.
        grid: patches (down, across).
        num_prefix_tokens: rows of zeros before the patches' rows.

    Raises:
        ConfigError: `dim` is no multiple of 4.
    """
    if dim % 4:
        raise ConfigError(f"sin-cos positions need a multiple of 4 channels, not {dim}")
    rows, columns = grid
    frequencies = 10000.0 ** (-np.arange(dim // 4) / (dim // 4))

    def waves(places: np.ndarray) -> np.ndarray:
        angles = np.outer(places, frequencies)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [N, D / 2]

    across, down = np.tile(np.arange(columns), rows), np.repeat(np.arange(rows), columns)
    table = np.concatenate([waves(across), waves(down)], axis=1)
    return np.concatenate([np.zeros((num_prefix_tokens, dim)), table])[None]
