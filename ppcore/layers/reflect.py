"""Padding by reflection, however far."""

import paddle


def reflected(size: int, wanted: int) -> paddle.Tensor:
    """Indices 0..size-1 for `wanted` places, going back and forth; int64 [wanted]."""
    period = max(2 * (size - 1), 1)
    places = paddle.arange(wanted) % period
    return paddle.minimum(places, period - places) if size > 1 else paddle.zeros_like(places)


def reflect_to(x: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
    """Extends [B, C, H, W] at its bottom and right to `height` x `width` by reflection.

    The edge itself is not repeated (numpy's `reflect`), so that a pattern goes on smoothly; an image
    smaller than the padding is reflected again and again, one pixel is repeated.
    """
    if height != x.shape[2]:
        x = paddle.index_select(x, reflected(x.shape[2], height), axis=2)
    if width != x.shape[3]:
        x = paddle.index_select(x, reflected(x.shape[3], width), axis=3)
    return x
