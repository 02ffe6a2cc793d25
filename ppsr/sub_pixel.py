"""A transposed convolution as an ordinary one of the small image, whose channels are then dealt out as large pixels."""

import numpy as np
import paddle.nn.functional as F
from paddle import nn


class SubPixel(nn.Layer):
    """What a transposed convolution with one output channel computes, in a form that engines have a fast way for.

    Its kernel of size k and stride n is n·n kernels of about k/n taps a side, one for each place that a large pixel may have
    between the small ones (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?").

    Args:
        layer: the transposed convolution, [C, 1, k, k].
        cut: rows and columns to leave out at the beginning of its result.
        rim: pixels on each side of the features that no large pixels are wanted of.

    Shape:
        [B, C, H, W] -> [B, 1, n·(H - 2·rim), n·(W - 2·rim)]; beyond the features there are zeros.
    """

    def __init__(self, layer: nn.Conv2DTranspose, cut: int, rim: int = 0):
        super().__init__()
        kernel = layer.weight.numpy()[:, 0]
        self.stride = layer._stride[0]
        # Large pixel n·j + p takes tap k of the small pixel j - m where k = n·m + p + cut.
        places = [self._taps(p + cut, kernel.shape[1]) for p in range(self.stride)]
        first, last = min(min(taps) for taps in places), max(max(taps) for taps in places)
        size = last - first + 1
        weight = np.zeros((self.stride, self.stride, kernel.shape[0], size, size), np.float32)
        for row, rows in enumerate(places):
            for column, columns in enumerate(places):
                for i, tap_row in rows.items():
                    for j, tap_column in columns.items():
                        weight[row, column, :, i - first, j - first] = kernel[:, tap_row, tap_column]
        # The window of small pixel j begins at j + first and ends at j + last. The convolution adds zeros on all sides alike.
        before, behind = -first - rim, last - rim
        zeros = max(before, behind, 0)
        self.cut = zeros - before, zeros - behind
        self.conv = nn.Conv2D(kernel.shape[0], self.stride**2, size, padding=zeros)
        self.conv.weight.set_value(weight.reshape(self.stride**2, -1, size, size))
        self.conv.bias.set_value(np.repeat(layer.bias.numpy(), self.stride**2))

    def _taps(self, start: int, size: int) -> dict[int, int]:
        """Taps of the kernel by the small pixel, from the large one's own, that they belong to."""
        steps = range(-start // self.stride - 1, (size - start) // self.stride + 2)
        return {-m: self.stride * m + start for m in steps if 0 <= self.stride * m + start < size}

    def forward(self, x):
        """The large image of features [B, C, H, W]."""
        x = self.conv(x)
        before, behind = self.cut
        if before or behind:
            x = x[:, :, before : x.shape[2] - behind, before : x.shape[3] - behind]
        return F.pixel_shuffle(x, self.stride)
