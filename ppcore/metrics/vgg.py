"""VGG19 up to conv5_4 (Simonyan and Zisserman 2015, configuration E): features of a perceptual loss."""

import os
from collections.abc import Sequence

import paddle
import paddle.nn as nn
from paddle.vision.models.vgg import cfgs, make_layers

from ppcore import weights
from ppcore.errors import ConfigError
from ppcore.weights import WeightMap
from ppcore.weights.layouts import renamed

# The last convolution of each scale, by its index in the chain.
CONVS = {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34}
# The classifier, in torchvision's file and in timm's; and conv5_*, where the network ends before.
_CLASSIFIER = r"classifier\..*|pre_logits\..*|head\..*"
_FIFTH = r"features\.(?:28|30|32|34)\..*"


class VGG19(nn.Layer):
    """The first 26 layers of VGG19, convolutions to conv4_4 before its ReLU; 10,585,152 parameters.

    With the tap conv5_4, the first 35 layers; 20,024,384 parameters.

    Args:
        taps: which of `CONVS` to return, each before its ReLU.

    Shape:
        [B, 3, H, W], H and W ≥ 8 (16) -> one [B, C, H / s, W / s] for each tap, s = 1, 2, 4, 8, 16.

    Raises:
        ConfigError: an unknown tap.
    """

    def __init__(self, *, taps: Sequence[str] = ("conv4_4",)):
        super().__init__()
        if not taps or not set(taps) <= set(CONVS):
            raise ConfigError(f"VGG19: taps {list(taps)} must be some of {', '.join(CONVS)}")
        self.features = make_layers(cfgs["E"][: 20 if "conv5_4" in taps else 15])[:-1]  # without the last ReLU
        self.taps = list(taps)

    def forward(self, x) -> list[paddle.Tensor]:
        """Features of images [B, 3, H, W], in the order of `taps`."""
        found, wanted = {}, {CONVS[tap] for tap in self.taps}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in wanted:
                found[i] = x
            if len(found) == len(wanted):
                break
        return [found[CONVS[tap]] for tap in self.taps]

    def weight_maps(self) -> dict[str, WeightMap]:
        """Layouts these weights are read from: `torchvision`, whose `vgg19` file also holds what is left out."""
        return {"torchvision": _WHOLE if "conv5_4" in self.taps else _TO_CONV4}


_WHOLE, _TO_CONV4 = renamed(_CLASSIFIER), renamed(rf"{_FIFTH}|{_CLASSIFIER}")


def load_vgg19(path: str | os.PathLike, taps: Sequence[str] = ("conv4_4",)) -> VGG19:
    """The frozen network with the weights of torchvision's `vgg19` file (.pth or .safetensors).

    Raises:
        WeightsError: no such file, not readable, or of another network (`vgg19_bn` does not fit).
    """
    network = VGG19(taps=taps)
    weights.load(network, path, source="torchvision")
    weights.freeze(network)
    return network
