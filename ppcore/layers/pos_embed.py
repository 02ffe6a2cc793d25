"""Resampling a position embedding to another grid, as each reference does it.

Every mode is separable and linear, so one mode is one weight matrix an axis; the products run
in float64 on the host. Position embeddings change grid when weights are loaded, never in a
training step.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from ppcore.errors import ConfigError, nearest

Mode = Literal[
    "deit_bicubic",
    "timm_bicubic_antialias",
    "bilinear_half_pixel",
    "timm_npz_loader",
    "google_zoom_order1",
]


def cubic_kernel(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with parameter `a` (support ±2)."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


def triangle_kernel(x: np.ndarray) -> np.ndarray:
    """Linear interpolation kernel (support ±1)."""
    return np.maximum(1 - np.abs(x), 0.0)


def _point_sampled(new: int, old: int, kernel: Callable, centres: np.ndarray) -> np.ndarray:
    """Kernel weights around `centres`; samples outside the grid are clamped to its border."""
    weights = np.zeros((new, old))
    base = np.floor(centres).astype(int)
    for offset in range(-1, 3):
        column = np.clip(base + offset, 0, old - 1)
        np.add.at(weights, (np.arange(new), column), kernel(centres - (base + offset)))
    return weights


def _half_pixel(new: int, old: int) -> np.ndarray:
    return (np.arange(new) + 0.5) * old / new - 0.5


def _antialiased_cubic(new: int, old: int) -> np.ndarray:
    """Support widened by the shrink factor, cut at the border, renormalised (Pillow, torch antialias)."""
    stretch = max(old / new, 1.0)
    distance = np.arange(old)[None, :] - _half_pixel(new, old)[:, None]
    weights = cubic_kernel(distance / stretch, a=-0.5)
    return weights / weights.sum(axis=1, keepdims=True)


def _aligned_corners(new: int, old: int) -> np.ndarray:
    centres = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
    return _point_sampled(new, old, triangle_kernel, centres)


MATRICES: dict[str, Callable[[int, int], np.ndarray]] = {
    # DeiT's fine-tuning: torch bicubic, half-pixel centres, a = -0.75, no antialias.
    "deit_bicubic": lambda new, old: _point_sampled(
        new, old, lambda x: cubic_kernel(x, a=-0.75), _half_pixel(new, old)
    ),
    # timm's state-dict loader: torch bicubic with antialias, which also switches to a = -0.5.
    "timm_bicubic_antialias": _antialiased_cubic,
    # Bilinear, half-pixel centres, no antialias; what timm's .npz loader uses.
    "bilinear_half_pixel": lambda new, old: _point_sampled(new, old, triangle_kernel, _half_pixel(new, old)),
    # vit_jax and big_vision: scipy.ndimage.zoom(order=1), that is bilinear with aligned corners.
    "google_zoom_order1": _aligned_corners,
}
MATRICES["timm_npz_loader"] = MATRICES["bilinear_half_pixel"]


def cubic_by_factor(old: int, new: int, factor: float) -> np.ndarray:
    """Bicubic weights [new, old] whose source coordinates follow a given factor, not new / old (torch's `scale_factor`).

    Half-pixel centres, a = -0.75, no antialias.
    """
    centres = (np.arange(new) + 0.5) / factor - 0.5
    return _point_sampled(new, old, lambda x: cubic_kernel(x, a=-0.75), centres)


def check_mode(mode: str) -> None:
    """Raises ConfigError, with the names there are, unless `mode` is one of `MATRICES`."""
    if mode not in MATRICES:
        raise ConfigError(
            f"pos_embed is {mode!r}{nearest(str(mode), MATRICES)}, but must be one of {', '.join(MATRICES)}"
        )


def interpolate(
    pos_embed: np.ndarray,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    *,
    num_prefix_tokens: int = 1,
    mode: Mode = "timm_bicubic_antialias",
) -> np.ndarray:
    """Resamples a position embedding to another patch grid.

    Args:
        pos_embed: [1, prefix + h·w, D], rows of prefix tokens (class, distillation) first.
        old_grid: (h, w) it has.
        new_grid: (h, w) it shall have.
        num_prefix_tokens: leading rows that are copied unchanged.
        mode: which reference to follow, a key of `MATRICES`.

    Returns:
        [1, prefix + h'·w', D] in the dtype of `pos_embed`.

    Raises:
        ConfigError: unknown mode.
        ValueError: the shape does not fit `old_grid` and `num_prefix_tokens`.
    """
    check_mode(mode)
    expected = num_prefix_tokens + old_grid[0] * old_grid[1]
    if pos_embed.ndim != 3 or pos_embed.shape[0] != 1 or pos_embed.shape[1] != expected:
        raise ValueError(f"pos_embed has shape {pos_embed.shape}, expected (1, {expected}, D) for grid {old_grid}")
    if tuple(old_grid) == tuple(new_grid):
        return pos_embed.copy()
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[0, num_prefix_tokens:]
    grid = patches.astype(np.float64).reshape(*old_grid, -1)  # [h, w, D]
    rows = MATRICES[mode](new_grid[0], old_grid[0])  # [h', h]
    columns = MATRICES[mode](new_grid[1], old_grid[1])  # [w', w]
    resampled = np.einsum("ih,jw,hwd->ijd", rows, columns, grid, optimize=True)
    resampled = resampled.reshape(1, new_grid[0] * new_grid[1], -1).astype(pos_embed.dtype)
    return np.concatenate([prefix, resampled], axis=1)
