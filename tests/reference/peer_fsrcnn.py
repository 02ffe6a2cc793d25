"""FSRCNN (56, 12, 4) at x4 in torch, as `tools/benchmark.py --what enhance --peer` takes it; the authors' arrays and borders."""

import numpy as np
import torch
import torch.nn.functional as F

SCALE, KERNEL, CONVS = 4, 9, 7


def kernel(array):
    """(in, k·k column by column, out) -> torch's [out, in, k, k]."""
    side = round(array.shape[1] ** 0.5)
    kernels = array.reshape(array.shape[0], side, side, array.shape[2]).transpose(3, 0, 2, 1)
    return torch.from_numpy(np.ascontiguousarray(kernels))


class Net:
    """Of the authors' arrays; Y [B, 1, H, W] to a tuple whose first is Y four times as large."""

    def __init__(self, arrays):
        numbers = range(1, CONVS + 1)
        self.weights = [kernel(arrays[f"weights_conv/{number}"]) for number in numbers]
        self.biases = [torch.from_numpy(arrays[f"biases_conv/{number}"].reshape(-1)) for number in range(1, CONVS + 2)]
        self.slopes = [torch.from_numpy(arrays[f"prelu_conv/{number}"].reshape(-1)) for number in numbers]
        self.last = kernel(arrays[f"weights_conv/{CONVS + 1}"])  # (1, 81, 56): [56, 1, 9, 9]

    def __call__(self, x):
        height, width = (SCALE * side for side in x.shape[2:])
        for weight, bias, slope in zip(self.weights, self.biases[:-1], self.slopes, strict=True):
            reach = weight.shape[2] // 2
            if reach:
                x = F.pad(x, [reach] * 4, mode="replicate")
            x = F.prelu(F.conv2d(x, weight, bias), slope)
        x = F.conv_transpose2d(F.pad(x, [1] * 4, mode="replicate"), self.last, self.biases[-1], stride=SCALE)
        begin = KERNEL // 2 + SCALE
        return (x[:, :, begin : begin + height, begin : begin + width],)
