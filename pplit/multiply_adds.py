"""Multiply-adds as LITv2's authors count them: their tables can be compared with no other count.

Biases of linear layers, softmax and bilinear sampling are not counted, those of convolutions and one operation a value of
every norm are. Two of their slips are kept: 12 channels of offsets, where the convolution has 8, and a final norm over four
times its positions.
"""

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pplit.hilo import HiLo
    from pplit.litv2 import LITv2

OFFSETS = 12


def hilo(layer: "HiLo", height: int, width: int) -> int:
    """Of one HiLo layer on a map of this size, rounded up to whole windows."""
    s = layer.window_size
    positions = prod(-(-size // s) * s for size in (height, width))
    windows = positions // s**2
    high = positions * layer.dim * 3 * layer.h_dim + windows * s**4 * layer.h_dim * 2 + positions * layer.h_dim**2
    low = positions * layer.dim * layer.l_dim + windows * layer.dim * 2 * layer.l_dim
    low += positions * windows * layer.l_dim * 2 + positions * layer.l_dim**2
    return high + low


def litv2(model: "LITv2", height: int, width: int) -> int:
    """Of a model on one image of this size in pixels."""
    down, across = model.patch_embed.patch_size
    height, width = height // down, width // across
    first, dim = height * width, model.embed_dim
    total = first * dim * (model.patch_embed.in_chans * down * across + 1)
    for stage in model.layers:
        positions = height * width
        for block in stage.blocks:
            if block.attn is not None:
                total += positions * dim + block.attn.flops(height, width)
            hidden = block.mlp.hidden_dim
            total += positions * (dim + 2 * dim * hidden + (9 + 1) * hidden)
        if stage.downsample is not None:
            height, width = height // 2, width // 2
            # The convolution with its bias, the offsets' with theirs, the batch norm.
            total += height * width * (4 * dim * 2 * dim + 2 * dim + (4 * dim + 1) * OFFSETS + 2 * dim)
            dim *= 2
    return total + dim * first // 2 ** len(model.layers) + dim * model.num_classes
