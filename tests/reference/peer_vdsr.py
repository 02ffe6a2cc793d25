"""VDSR in torch, as `tools/benchmark.py --what enhance --peer` takes it; the authors' arrays."""

import numpy as np
import torch
import torch.nn.functional as F

DEPTH = 20


class Net:
    """Of the authors' arrays; enlarged Y [B, 1, H, W] to a tuple whose first is the same, sharper."""

    def __init__(self, arrays):
        kernels = [
            arrays[f"weight/{number}"].transpose(3, 2, 0, 1) for number in range(1, DEPTH + 1)
        ]  # (h, w, in, out)
        self.weights = [torch.from_numpy(np.ascontiguousarray(each)) for each in kernels]
        self.biases = [torch.from_numpy(arrays[f"bias/{number}"].reshape(-1)) for number in range(1, DEPTH + 1)]

    def __call__(self, x):
        y = x
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = F.relu_(F.conv2d(y, weight, bias, padding=1))
        return (x + F.conv2d(y, self.weights[-1], self.biases[-1], padding=1),)
