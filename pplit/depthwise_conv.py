"""The 3 x 3 depth-wise convolution of LITv2's blocks, in the form that is fastest where it runs."""

import math
from functools import lru_cache

import numpy as np
import paddle
import paddle.nn.functional as F

from ppcore.layers import Conv2D, checks, init

SMALL = 64  # positions


class DepthwiseConv(Conv2D):
    """Each channel with nine weights of its own, zeros beyond the edge: [B, H, W, C] -> the same.

    Paddle's CPU kernel convolves image by image and channel by channel. For several images of a small map, eagerly, a
    channel's convolution is one product of its images [B, H·W] and a matrix [H·W, H·W] of its weights. On one core,
    forward (with the gradients), the kernel and the product: 64 maps of 4 x 4 x 512 24 ms (70) and 1.5 (6.7), of
    8 x 8 x 256 18 (54) and 3.9 (15), 4 of 7 x 7 x 3072 13 (37) and 5.8 (23). At 14 x 14 the product is slower. Tried and
    left: products row by row (16 x 16: 62 ms and 46 to 51, 8 x 8 25), nine shifted sums with a gradient of their own (8 x 8
    37, 16 x 16 74), `unfold` (46, 74), oneDNN's kernels (Paddle does not take them).

    Args:
        channels: C. The weights start at N(0, 2/9), the biases at 0.
    """

    def __init__(self, channels: int):
        checks.whole(self, 1, channels=channels)
        start = dict(weight_attr=init.attr(init.Gaussian(math.sqrt(2 / 9))), bias_attr=init.attr(init.Zeros()))
        super().__init__(channels, channels, 3, padding=1, groups=channels, **start)

    def forward(self, x):
        if not paddle.in_dynamic_mode() or not x.place.is_cpu_place() or not _is_small(x):
            y = F.conv2d(x.transpose([0, 3, 1, 2]), self.weight, padding=1, groups=self._groups)
            return y.transpose([0, 2, 3, 1]) + self.bias  # added before, Paddle2ONNX 2 makes another function of it
        batch, height, width, channels = x.shape
        size = height * width
        taps = paddle.to_tensor(tap_matrices(height, width)).astype(self.weight.dtype)
        matrices = paddle.matmul(self.weight.reshape([channels, 9]), taps).reshape([channels, size, size])
        by_channel = x.reshape([batch, size, channels]).transpose([2, 0, 1])  # [C, B, H·W]
        return paddle.matmul(by_channel, matrices).transpose([1, 2, 0]).reshape(x.shape) + self.bias

    def convolved(self, x):
        """The same of a map [B, C, H, W], for a graph."""
        return F.conv2d(x, self.weight, self.bias, padding=1, groups=self._groups)


def _is_small(x: paddle.Tensor) -> bool:
    return x.shape[0] > 1 and x.shape[1] * x.shape[2] <= SMALL


@lru_cache(maxsize=8)
def tap_matrices(height: int, width: int) -> np.ndarray:
    """Where each of nine taps takes from: [9, H·W · H·W], 1 at (tap, from · H·W + to), nothing beyond the edge."""
    found = np.zeros((9, height, width, height, width), np.float32)
    rows, columns = np.mgrid[:height, :width]
    for tap in range(9):
        down, across = rows + tap // 3 - 1, columns + tap % 3 - 1
        inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
        found[tap, down[inside], across[inside], rows[inside], columns[inside]] = 1
    return found.reshape(9, -1)
