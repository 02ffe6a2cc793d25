"""Filtering with a kernel of its own for every pixel and channel."""

import paddle
import paddle.nn.functional as F


def filter_per_pixel(x: paddle.Tensor, kernels: paddle.Tensor, size: int = 3) -> paddle.Tensor:
    """Correlates each pixel's neighbourhood with that pixel's kernel; the border is repeated outwards.

    Written as a sum over the taps of shifted maps: an unfolded map would be `size`² times as large, and ONNX has no
    operator for it.

    Args:
        x: [B, C, H, W].
        kernels: [B, C · size², H, W]; channel c's taps are c·size² .. (c+1)·size² - 1, row by row.
        size: of the kernels, odd.

    Returns:
        [B, C, H, W].
    """
    reach = size // 2
    wide = F.pad(x, [reach] * 4, mode="replicate")
    total = 0.0
    for tap in range(size * size):
        down, right = divmod(tap, size)
        rows = slice(down, down - 2 * reach or None)
        columns = slice(right, right - 2 * reach or None)
        total = total + wide[:, :, rows, columns] * kernels[:, tap :: size * size]
    return total
