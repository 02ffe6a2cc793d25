"""The released PairLIE at its default gamma, as `tools/benchmark.py --what enhance --peer` takes it."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import torch_pairlie


class Net:
    """Of arrays by the released file's names; images [B, 3, H, W] to a tuple whose first is the image."""

    def __init__(self, arrays):
        self.model = torch_pairlie.PairLIE(64)
        self.model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})

    def __call__(self, x):
        illumination, reflectance, _ = self.model(x)
        return (illumination**0.2 * reflectance,)
