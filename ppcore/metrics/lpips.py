"""LPIPS (Zhang et al. 2018): distance of two images in AlexNet's features, version 0.1 of its weights."""

import os
from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn as nn

from ppcore import weights
from ppcore.errors import DataError, WeightsError
from ppcore.weights import WeightMap
from ppcore.weights.layouts import renamed

SMALLEST = 31  # pixels a side that leave one position after the second pooling

_TAPS = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}  # ReLUs in the chain and their channels
# What the metric's input is normalised with, for images in [-1, 1] (constants of the published metric).
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def _alexnet() -> nn.Sequential:
    """AlexNet's convolutions (Krizhevsky 2014), entry n of torchvision's `features` as n."""
    return nn.Sequential(
        *(nn.Conv2D(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2D(3, 2)),
        *(nn.Conv2D(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2D(3, 2)),
        *(nn.Conv2D(192, 384, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2D(384, 256, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2D(256, 256, 3, 1, 1), nn.ReLU()),
    )


class LPIPS(nn.Layer):
    """Σ over five layers of the mean over positions of Σ over channels w · (difference of unit features)².

    Shape:
        two of [B, 3, H, W] RGB in [0, 1], H and W ≥ 31 -> [B].
    """

    def __init__(self):
        super().__init__()
        self.features = _alexnet()
        for i, channels in enumerate(_TAPS.values()):
            self.add_sublayer(f"lin{i}", nn.Conv2D(channels, 1, 1, bias_attr=False))
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, paddle.to_tensor(values).reshape([1, 3, 1, 1]), persistable=False)

    def forward(self, x, y):
        """Distances [B] of images x and y."""
        if min(x.shape[2:]) < SMALLEST:
            raise DataError(
                f"LPIPS needs images of {SMALLEST}x{SMALLEST} pixels or more, not {x.shape[2]}x{x.shape[3]}"
            )
        total = 0.0
        for i, (a, b) in enumerate(zip(self._unit_features(x), self._unit_features(y), strict=True)):
            total = total + getattr(self, f"lin{i}")((a - b) ** 2).mean(axis=[1, 2, 3])
        return total

    def _unit_features(self, x) -> list[paddle.Tensor]:
        """Each tap with the channels of every position scaled to length 1."""
        x = (2 * x - 1 - self.shift) / self.scale
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in _TAPS:
                found.append(x / ((x**2).sum(axis=1, keepdim=True).sqrt() + 1e-10))
        return found

    @paddle.no_grad()
    def distance(self, image: np.ndarray, target: np.ndarray) -> float:
        """Of two images [H, W, 3] in [0, 1]; 0 for the same."""
        x, y = (paddle.to_tensor(np.float32(a).transpose(2, 0, 1)[None]) for a in (image, target))
        return self(x, y).item()

    def weight_maps(self) -> dict[str, WeightMap]:
        """Layouts these weights are read from: `lpips`, torchvision's AlexNet and LPIPS's layers together."""
        return {"lpips": _LPIPS}


# Names of the whole metric's file (net.slice1.0.weight), and of LPIPS's own, which lacks the trunk.
_LPIPS = renamed(
    r"classifier\..*|scaling_layer\..*|lins\..*",
    (r"^net\.slice\d\.(\d+)\.", r"features.\1."),
    (r"^(lin\d)\.model\.1\.", r"\1."),
)


def load_lpips(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> LPIPS:
    """The frozen metric.

    Args:
        paths: one file with everything (the state dict of the whole metric), or torchvision's `alexnet`
            file and LPIPS's `alex.pth` (v0.1, the linear layers only).

    Raises:
        WeightsError: a file is missing or unreadable, or together they are not the whole network.
    """
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    arrays: dict[str, np.ndarray] = {}
    for path in listed:
        arrays |= weights.read(path)
    network = LPIPS()
    try:
        state = weights.convert(arrays, source="lpips", model=network)
    except WeightsError as error:
        names = " + ".join(map(str, listed))
        raise WeightsError(
            f"{names}: {error} (LPIPS takes torchvision's alexnet file and LPIPS v0.1's alex.pth together)"
        ) from None
    network.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    weights.freeze(network)
    return network
