"""Attention in windows, drawn over images: where a patch looks in each block, and what reaches the head in all.

`papers/swin.yaml` names `draw`.
"""

from typing import Any

import numpy as np
import paddle

from ppcore.photo.heat import overlay, unit_range
from ppcore.photo.panels import enlarged, stretched
from ppswin.swin import SwinTransformer

SHOWN, SIDE = 4, 160  # images; pixels


@paddle.no_grad()
def draw(model: SwinTransformer, images: paddle.Tensor) -> dict[str, Any]:
    """Attention of the patch in the middle, mapped back to the image, in every block, and the rollout over all blocks.

    Args:
        model: in evaluation mode.
        images: [N, C, H, W]; the first ones are drawn.

    Returns:
        `rows` of panels {caption, image}, one an image, and `text`.
    """
    images, rows = images[:SHOWN], []
    looks, rolled = _looks(model, images), model.attention_rollout(images)
    for i, image in enumerate(images.numpy()):
        shown = enlarged(stretched(image), (SIDE, SIDE))
        panels = [{"caption": "test image", "image": shown}]
        for caption, maps in (*looks, ("rollout", rolled)):
            heat = np.repeat(np.repeat(unit_range(maps[i]), 8, axis=0), 8, axis=1)  # windows keep their edges
            panels.append({"caption": caption, "image": overlay(shown, heat)})
        rows.append({"label": "", "panels": panels})
    text = (
        "Where the patch in the middle of the image looks: its window's attention in each block, heads averaged, over the "
        "image; and how much of each patch reaches the head through all blocks. Each stretched to its range."
    )
    return {"rows": rows, "text": text}


def _looks(model: SwinTransformer, images: paddle.Tensor) -> list[tuple[str, np.ndarray]]:
    """Of each block a caption, and the attention [B, h, w] of the token in the middle of the map."""
    found, tokens = [], model.embed(images)
    for number, stage in enumerate(model.layers, 1):
        (height, width), count = stage.grid, stage.grid[0] * stage.grid[1]
        middle = height // 2 * width + width // 2
        for block in stage.blocks:
            maps = block.attn.attention_map(block.windows(block.norm1(tokens)), block.mask).mean(axis=1).numpy()
            order = block.partition.order.reshape(-1, block.attn.tokens)  # [windows, N]
            [[window, row]] = np.argwhere(order == middle)
            seen = np.zeros((len(images), count + 1), np.float32)
            seen[:, order[window]] = maps.reshape(len(images), len(order), *maps.shape[1:])[:, window, row]
            kind = "shifted windows" if any(block.shift) else "windows"
            found.append((f"stage {number}, {kind}", seen[:, :count].reshape(-1, height, width)))
            tokens = block(tokens)
        tokens = tokens if stage.downsample is None else stage.downsample(tokens)
    return found
