"""Attention rollout through windows and patch merging: how much of each patch reaches the mean that the head reads."""

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.layers.rollout import before_block, before_merging


@paddle.no_grad()
def attention_rollout(model: nn.Layer, x: paddle.Tensor) -> np.ndarray:
    """Follows attention from the mean of the last map back to the patches, block by block.

    A block's heads are averaged and half of the flow is its residual branch (`ppcore.layers.rollout`); a merged token
    passes a quarter to each of the four it was made of. No matrix of all pairs of tokens is made: the flow goes through
    each block's windows.

    Args:
        model: a `SwinTransformer`.
        x: images [B, C, H, W].

    Returns:
        [B, rows, columns] float64, over the patches. They sum to 1; where maps are padded, to less.
    """
    seen = []  # of each block, attention in windows
    tokens = model.embed(x)
    for stage in model.layers:
        for block in stage.blocks:
            windows = block.windows(block.norm1(tokens))
            seen.append(block.attn.attention_map(windows, block.mask).mean(axis=1).numpy())
            tokens = block(tokens)
        tokens = tokens if stage.downsample is None else stage.downsample(tokens)
    batch, count, stages = *tokens.shape[:2], list(model.layers)
    flow = np.full((batch, count), 1 / count)
    for stage, after in zip(stages[::-1], [None, *stages[:0:-1]], strict=True):
        if after is not None:
            flow = before_merging(flow.reshape(batch, *after.grid), stage.grid).reshape(batch, -1)
        for block in reversed(stage.blocks):
            flow = before_block(flow, _through_windows(flow, seen.pop(), block.partition.order))
    return flow.reshape(batch, *model.grid)


def _through_windows(flow: np.ndarray, attention: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A flow [B, H·W] through attention [B · windows, N, N]; `order` says which token is at which place."""
    batch, count = flow.shape
    at_places = np.pad(flow, ((0, 0), (0, 1)))[:, order].reshape(batch, -1, 1, attention.shape[-1])
    back = (at_places @ attention.reshape(batch, -1, *attention.shape[1:])).reshape(batch, -1)
    found = np.zeros_like(flow)
    real = order < count
    found[:, order[real]] = back[:, real]
    return found
