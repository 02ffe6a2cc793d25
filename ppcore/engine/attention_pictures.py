"""The pictures that `tools/infer.py` writes beside its answers; of attention rollout over an image, whatever the network is for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn as nn

from ppcore.data import CenterCrop, FileImages, Resize, resized_shape
from ppcore.engine.classify_files import Attention
from ppcore.photo.heat import overlay, unit_range
from ppcore.photo.photo_io import write_file


def attention_of(model: nn.Layer) -> Attention:
    """Attention rollout of a network that has it, each image's in 0..1."""

    @paddle.no_grad()
    def attention(images: np.ndarray) -> list[np.ndarray]:
        return [unit_range(flow) for flow in model.attention_rollout(paddle.to_tensor(images))]

    return attention


def save_rollout(folder: Path, files: Sequence[str], number: int, steps: Sequence[Any], attention: np.ndarray) -> str:
    """Writes the picture of an image's attention; see `save_overlay`. Returns its path."""
    target = picture_path(folder, files, number, "_rollout")
    image = FileImages(files, np.zeros(len(files), np.int64), None, 1).load(number)["image"]
    save_overlay(target, image, steps, attention)
    return str(target)


def picture_path(folder: Path, files: Sequence[str], number: int, ending: str = "") -> Path:
    """Where the picture of a file is; the number keeps equal names apart."""
    return folder / f"{number:05d}_{Path(files[number]).stem}{ending}.png"


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
    save_png(target, overlay(seen(image, steps), attention))


def save_png(target: Path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] RGB as PNG.

    Raises:
        DataError: the file cannot be written.
    """
    write_file(target, cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


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
