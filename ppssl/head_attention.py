"""Where a vision transformer looks: attention of the class token in the last block, each head over the image (DINO, Figure 1).

`papers/dino.yaml` names `draw`.
"""

from typing import Any

import numpy as np
import paddle

from ppcore.photo.heat import overlay, unit_range
from ppcore.photo.panels import Show, at_least, stretched
from ppssl.dino_vit import DINOVisionTransformer

SHOWN, SIDE = 4, 160  # images; pixels that a picture has at least


@paddle.no_grad()
def pictures(model: DINOVisionTransformer, x: paddle.Tensor, show: Show | None = None) -> list[list[dict[str, Any]]]:
    """The image, the mean of the heads and each head over the image, each map stretched to its range.

    Args:
        model: in evaluation mode.
        x: [B, C, H, W], of any whole number of patches.
        show: draws an image; None: stretched to its range.

    Returns:
        For each image its panels {caption, image uint8 [H, W, 3]}.
    """
    maps = model.head_attention(x).numpy()  # [B, heads, rows, columns]
    return [_panels((show or stretched)(image), heads) for image, heads in zip(x.numpy(), maps, strict=True)]


def _panels(image: np.ndarray, heads: np.ndarray) -> list[dict[str, Any]]:
    shown = at_least(image, SIDE)
    down, across = (side // patches for side, patches in zip(shown.shape[:2], heads.shape[1:], strict=True))
    panels = [{"caption": "the image", "image": shown}]
    named = [("mean of the heads", heads.mean(axis=0)), *((f"head {n}", one) for n, one in enumerate(heads, 1))]
    for caption, values in named:
        heat = np.repeat(np.repeat(unit_range(values), down, axis=0), across, axis=1)  # patches keep their edges
        panels.append({"caption": caption, "image": overlay(shown, heat)})
    return panels


def draw(model: DINOVisionTransformer, images: paddle.Tensor) -> dict[str, Any]:
    """The first images and where each head looks in them.

    Args:
        model: in evaluation mode.
        images: [N, C, H, W]; the first ones are drawn.

    Returns:
        `rows` of panels {caption, image}, one an image, and `text`.
    """
    text = (
        "Attention of the class token over the patches in the last block of the teacher, over the image (bright: much), each map "
        "stretched to its range. Nothing in training said what is in an image."
    )
    return {"rows": [{"label": "", "panels": panels} for panels in pictures(model, images[:SHOWN])], "text": text}
