"""Bilinear resizing (align_corners False), and the same as matrix products for graphs with open sizes.

Every engine runs the products alike: oneDNN's own operator fails inside Paddle Inference 3.3.1, and onnxruntime's is slow.
"""

import paddle
import paddle.nn.functional as F


def reduce(x: paddle.Tensor, factor: int) -> paddle.Tensor:
    """Bilinear reduction by an even factor without antialiasing: the mean of each tile's four centre pixels."""
    first, second = factor // 2 - 1, factor // 2
    rows = x[:, :, first::factor] + x[:, :, second::factor]
    return (rows[:, :, :, first::factor] + rows[:, :, :, second::factor]) * 0.25


def resize_as(x: paddle.Tensor, like: paddle.Tensor) -> paddle.Tensor:
    """Bilinear resize to the height and width of `like` (align_corners False)."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def bilinear_matrix(size: paddle.Tensor, wanted: paddle.Tensor) -> paddle.Tensor:
    """The weights [wanted, size] of a linear resize of one axis (half-pixel centres, align_corners False).

    Positions are whole multiples of 1/(2·wanted) of a pixel and computed as such.

    Args:
        size, wanted: 0-d int64 tensors.
    """
    unit = 2 * wanted
    place = (2 * paddle.arange(0, wanted, 1, dtype="int64") + 1) * size - wanted
    place = paddle.minimum(paddle.maximum(place, paddle.zeros_like(place)), (size - 1) * unit)
    away = paddle.abs(paddle.unsqueeze(place, 1) - paddle.unsqueeze(paddle.arange(0, size, 1, dtype="int64") * unit, 0))
    near = (unit - away).astype("float32") / unit.astype("float32")
    return paddle.maximum(near, paddle.zeros_like(near))
