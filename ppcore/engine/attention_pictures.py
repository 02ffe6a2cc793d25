"""Pictures of attention rollout over the images that `tools/infer.py` classifies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppcore.data import CenterCrop, Resize, resized_shape
from ppcore.photo.heat import overlay
from ppcore.photo.photo_io import write_file


def save_overlay(target: Path, image: np.ndarray, steps: Sequence[Any], attention: np.ndarray) -> None:
    """Writes what the network saw of an image, with its attention over it, as PNG.

    Args:
        target: the file.
        image: uint8 [H, W, 3] RGB, as read.
        steps: the transforms it went through.
        attention: [h, w] in 0..1 over the patch grid.

    Raises:
        DataError: the file cannot be written.
    """
    painted = overlay(seen(image, steps), attention)
    write_file(target, cv2.imencode(".png", cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))[1].tobytes())


def seen(image: np.ndarray, steps: Sequence[Any]) -> np.ndarray:
    """The part of an image that evaluation's Resize and CenterCrop leave, at the image's own resolution.

    Args:
        image: [H, W, C].
        steps: evaluation's transforms; those that are no Resize and no CenterCrop are taken to keep the geometry.

    Returns:
        [h, w, C], with black where a centre crop is larger than the image.
    """
    size = np.array(image.shape[:2])
    begin, end = np.zeros(2), size.astype(float)  # of what is left, in the image's pixels
    for step in steps:
        if isinstance(step, Resize):
            size = np.array(resized_shape(*size, step.size))
        elif isinstance(step, CenterCrop):
            scale, crop = (end - begin) / size, np.array([step.height, step.width])
            begin = begin + np.where(crop > size, -((crop - size) // 2), np.rint((size - crop) / 2)) * scale
            size, end = crop, begin + crop * scale
    (top, left), (bottom, right) = np.rint(begin).astype(int), np.rint(end).astype(int)
    border = [max(-top, 0), max(bottom - image.shape[0], 0)], [max(-left, 0), max(right - image.shape[1], 0)]
    image = np.pad(image, [*border, (0, 0)])
    top, left = max(top, 0), max(left, 0)
    return image[top : bottom + border[0][0], left : right + border[1][0]]
