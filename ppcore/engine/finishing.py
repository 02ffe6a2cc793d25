"""What is left to do to a training batch of bytes, by Paddle's operators where the bytes are.

The same float32 steps as numpy's in `ppcore.data`, in the same order: on a CPU the same bits.
"""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F

from ppcore.data.transforms.mixup import Mix
from ppcore.data.transforms.normalize import Normalize

Pieces = Sequence[tuple[paddle.Tensor, paddle.Tensor]]


def normalized(images: paddle.Tensor, normalize: Normalize) -> paddle.Tensor:
    """uint8 [B, C, H, W] to float32, as `Normalize.batch`."""
    # Tensors, not numbers: Paddle would multiply by the inverse of a number. Filled there: nothing is copied from the host.
    mean, std = (_channels(values) for values in (normalize.mean, normalize.std))
    return (images.astype("float32") / paddle.full([1], 255.0) - mean) / std


def _channels(values: Sequence[np.float32]) -> paddle.Tensor:
    return paddle.concat([paddle.full([1, 1, 1, 1], float(value)) for value in values], axis=1)


def erased(images: paddle.Tensor, erasures: Pieces) -> paddle.Tensor:
    """Writes values at places of the flattened images, which are overwritten: see `Unfinished.erasures`."""
    if not erasures:
        return images
    flat = images.reshape([-1])
    for places, values in erasures:
        flat = paddle.scatter(flat, places, values)
    return flat.reshape(images.shape)


def mixed(images: paddle.Tensor, mix: Mix | None) -> paddle.Tensor:
    """Mixup or CutMix of float32 [B, C, H, W] with the reversed batch, as `mix_images` and `cut_images`."""
    if mix is None:
        return images
    if mix.box is None:
        return _blend(images, mix.lam)
    yl, yh, xl, xh = mix.box
    rows, columns = paddle.arange(images.shape[2]), paddle.arange(images.shape[3])
    inside = ((rows >= yl) & (rows < yh)).unsqueeze(1) & ((columns >= xl) & (columns < xh))
    return paddle.where(inside, paddle.flip(images, [0]), images)


def targets(labels: paddle.Tensor, num_classes: int, lam: float, smoothing: float) -> paddle.Tensor:
    """Soft targets float32 [B, K] of int64 [B] in range, as `mix_targets`."""
    off = smoothing / num_classes
    on, off = paddle.full([1], 1.0 - smoothing + off), paddle.full([1], off)
    return _blend(paddle.where(F.one_hot(labels, num_classes) > 0, on, off), lam)


def _blend(values: paddle.Tensor, lam: float) -> paddle.Tensor:
    """lam * values + (1 - lam) * values reversed along the batch."""
    return paddle.flip(values, [0]) * (1.0 - lam) + values * lam
