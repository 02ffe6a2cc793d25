"""Convolutional trunks of pretrained classifiers, frozen: what perceptual losses and metrics compare images by."""

import re
from collections.abc import Sequence

import paddle.nn as nn

from ppcore.weights import WeightMap
from ppcore.weights.layouts import Arrays


def trunk(plan: Sequence[tuple[int, int, int, int] | str], in_chans: int = 3) -> nn.Sequential:
    """A chain under torchvision's names: entry n of `features` is `features.n` there.

    Args:
        plan: per layer (channels, kernel, stride, padding) for a convolution, `relu`, or `pool<k>`, a
            maximum over k × k with stride 2.
        in_chans: channels of the input.
    """
    layers: list[nn.Layer] = []
    for step in plan:
        if step == "relu":
            layers.append(nn.ReLU())
        elif isinstance(step, str):
            layers.append(nn.MaxPool2D(int(step.removeprefix("pool")), 2))
        else:
            channels, kernel, stride, padding = step
            layers.append(nn.Conv2D(in_chans, channels, kernel, stride, padding))
            in_chans = channels
    return nn.Sequential(*layers)


def freeze(network: nn.Layer) -> None:
    """Evaluation mode, and no gradients for the parameters; they still flow to the input."""
    network.eval()
    for parameter in network.parameters():
        parameter.stop_gradient = True


def renamed(dropped: str, renames: Sequence[tuple[str, str]] = ()) -> WeightMap:
    """A layout of the usual file: its names are ours after `renames`; the classifier in it has no use here.

    Args:
        dropped: pattern of the names in the file that are left out.
        renames: (pattern, replacement), each tried on every name.
    """

    def load(arrays: Arrays, model: nn.Layer) -> Arrays:
        found = {}
        for name, array in arrays.items():
            if not re.fullmatch(dropped, name):
                for pattern, replacement in renames:
                    name = re.sub(pattern, replacement, name)
                found[name] = array
        return found

    return WeightMap(load, lambda state, model: dict(state), framework="pt")
