"""Attention rollout: how much of each patch reaches what the head reads (Abnar & Zuidema 2020; ViT paper, Figure 6)."""

from collections.abc import Sequence

import numpy as np


def attention_rollout(
    maps: Sequence[np.ndarray], *, num_prefix_tokens: int, grid: tuple[int, int], tokens: Sequence[int] = (0,)
) -> np.ndarray:
    """Follows attention from tokens of the last layer back to the patches.

    Heads are averaged; half of every layer's flow is its residual branch, hence the identity; rows are scaled to 1.

    Args:
        maps: One [B, heads, N, N] array a layer, first layer first, rows summing to 1.
        num_prefix_tokens: Tokens before the patches (class and distillation tokens).
        grid: Rows and columns of patches; rows * columns + num_prefix_tokens = N.
        tokens: The tokens looked from, averaged: 0 for the class token, or whatever the head reads.

    Returns:
        [B, rows, columns] float64: the share of each patch. They sum to at most 1; the rest comes from prefix tokens.

    Raises:
        ValueError: No maps, or shapes that do not fit each other or the grid.
    """
    if not maps:
        raise ValueError("attention rollout needs at least one layer")
    shape = np.shape(maps[0])
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] != grid[0] * grid[1] + num_prefix_tokens:
        raise ValueError(f"attention of shape {shape} does not fit grid {grid} with {num_prefix_tokens} prefix tokens")
    batch, _, count, _ = shape
    flow = np.broadcast_to(np.eye(count), (batch, count, count))
    for layer, attention in enumerate(maps):
        if np.shape(attention)[0] != batch or np.shape(attention)[2:] != (count, count):
            raise ValueError(f"attention of layer {layer} has shape {np.shape(attention)}, the first has {shape}")
        mixed = np.asarray(attention, np.float64).mean(axis=1) + np.eye(count)  # [B, N, N]
        flow = mixed / mixed.sum(axis=-1, keepdims=True) @ flow
    seen = flow[:, list(tokens)].mean(axis=1)
    return seen[:, num_prefix_tokens:].reshape(batch, *grid)


def before_block(flow: np.ndarray, attended: np.ndarray) -> np.ndarray:
    """What of each position reaches the goal through a block: half by its residual branch, half by its attention.

    Args:
        flow: [B, N], what of each position behind the block does.
        attended: [B, N], the same followed back through the attention.
    """
    return (flow + attended) / 2


def before_merging(flow: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A position that was merged of 2 x 2 passes a quarter to each: [B, ceil(H/2), ceil(W/2)] -> [B, H, W], the `grid`.

    What goes to padding is lost.
    """
    return (flow / 4).repeat(2, axis=1).repeat(2, axis=2)[:, : grid[0], : grid[1]]
