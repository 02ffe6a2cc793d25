"""Attention rollout through HiLo and token merging: how much of each patch reaches the mean that the head reads."""

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.layers.rollout import before_block, before_merging
from pplit.hilo import HiLo


@paddle.no_grad()
def attention_rollout(model: nn.Layer, x: paddle.Tensor) -> np.ndarray:
    """Follows attention from the mean of the last map back to the patches, block by block.

    A block's heads are averaged and half of the flow is its residual branch (`ppcore.layers.rollout`); what reaches the
    average of a window goes to its positions alike; a merged position passes a quarter to each of the four at its place,
    whatever its offsets. Blocks without attention pass all on: what their convolutions move is not followed.

    Args:
        model: a `LITv2`.
        x: images [B, C, H, W].

    Returns:
        [B, rows, columns] float64, over the patches. They sum to 1; where maps are padded to whole windows, to less.
    """
    steps = []  # from a map to the one before it
    tokens = model.patch_embed(x)
    for stage in model.layers:
        for block in stage.blocks:
            if block.attn is not None:
                steps.append((_through_attention, (block.attn, _maps(block.attn, block.norm1(tokens)))))
            tokens = block(tokens)
        if stage.downsample is not None:
            steps.append((before_merging, (tuple(tokens.shape[1:3]),)))
            tokens = stage.downsample(tokens)
    batch, height, width = tokens.shape[:3]
    flow = np.full((batch, height, width), 1 / (height * width))
    for back, given in reversed(steps):
        flow = back(flow, *given)
    return flow


def _maps(attn: HiLo, tokens: paddle.Tensor) -> list[np.ndarray | None]:
    """Both paths' softmax maps, their heads averaged."""
    high, low = attn.attention_maps(tokens)
    return [None if high is None else high.mean(axis=2).numpy(), None if low is None else low.mean(axis=1).numpy()]


def _through_attention(flow: np.ndarray, attn: HiLo, maps: list[np.ndarray | None]) -> np.ndarray:
    """A flow [B, H, W] back through a block; each path has as much of it as it has of the heads."""
    (batch, height, width), s = flow.shape, attn.window_size
    high, low = maps
    wide = np.pad(flow, ((0, 0), (0, -height % s), (0, -width % s)))
    down, across = wide.shape[1] // s, wide.shape[2] // s
    found = np.zeros_like(wide)
    if high is not None:  # [B, windows, s², s²]
        windows = wide.reshape(batch, down, s, across, s).transpose(0, 1, 3, 2, 4).reshape(batch, -1, 1, s * s)
        back = (windows @ high).reshape(batch, down, across, s, s).transpose(0, 1, 3, 2, 4)
        found += attn.h_heads * back.reshape(wide.shape)
    if low is not None:  # [B, H·W, windows]
        averages = (wide.reshape(batch, 1, -1) @ low).reshape(batch, down, across) / s**2
        found += attn.l_heads * averages.repeat(s, axis=1).repeat(s, axis=2)
    attended = found[:, :height, :width] / (attn.h_heads + attn.l_heads)
    return before_block(flow, attended)
