"""The released MBLLEN, without post-processing, as `tools/benchmark.py --what enhance --peer` takes it."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import torch_mbllen


class Net:
    """Of arrays by Keras's names and in its layouts; images [B, 3, H, W] to a tuple whose first is the image."""

    def __init__(self, arrays):
        self.model = torch_mbllen.MBLLEN(32, 10)
        with torch.no_grad():
            for name, layer in self.model.layers.items():
                layer.weight.copy_(torch.from_numpy(arrays[f"{name}/kernel:0"]).permute(3, 2, 0, 1))
                layer.bias.copy_(torch.from_numpy(arrays[f"{name}/bias:0"]))

    def __call__(self, x):
        results = []
        for i in range(self.model.depth):
            x = F.relu(self.model.feature(i, x))  # the one before is let go
            results.append(self.model.branch(i, x))
        return (self.model.fused(results),)
