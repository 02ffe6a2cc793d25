"""PairLIE in plain torch, from the description of its layers, and its loss from two exposures of a scene; nothing of ours.

Parameters have the names of the released file.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Five convolutions of maps extended by reflection; the places in the list are those of the released file."""

    def __init__(self, name, outputs, width):
        super().__init__()
        layers, inputs = [], 3
        for place in range(5):
            channels = width if place < 4 else outputs
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, channels, 3), nn.ReLU() if place < 4 else nn.Sigmoid()]
            inputs = channels
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x):
        (layers,) = self.children()
        return layers(x)


class PairLIE(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.L_net = Net("L_net", 1, width)
        self.R_net = Net("R_net", 3, width)
        self.N_net = Net("N_net", 3, width)

    def forward(self, image):
        """Illumination, reflectance, and the image without noise, which both are of."""
        x = self.N_net(image)
        return self.L_net(x), self.R_net(x), x


def arrays(model, read=lambda p: p):
    """Arrays by the released file's names."""
    return {name: read(p).detach().numpy().copy() for name, p in model.named_parameters()}


def fill(model, seed):
    """Kernels 2 z / sqrt(kh kw in), biases 0.05 z; z standard normal in the order of the parameters."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        scale = 2 / np.sqrt(parameter[0].numel()) if parameter.ndim == 4 else 0.05
        parameter.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(parameter.shape))))


def terms(model, first, second):
    """C, the four parts of Rx, and P, of two exposures of a scene [B, 3, H, W]; all but C are of the first."""
    light, reflectance, x = model(first)
    image = first.detach()
    return {
        "consistency": ((reflectance - model(second)[1]) ** 2).mean(),
        "product": ((light * reflectance - x) ** 2).mean(),
        "quotient": ((reflectance - x / light.detach()) ** 2).mean(),
        "brightest": ((light - image.amax(1, keepdim=True)) ** 2).mean(),
        "smoothness": (light[:, :, 2:] - light[:, :, :-2]).abs().mean()
        + (light[:, :, :, 2:] - light[:, :, :, :-2]).abs().mean(),
        "projection": F.mse_loss(x, image),
    }


def total(found):
    """C + Rx + 500 P."""
    return sum(value * (500 if name == "projection" else 1) for name, value in found.items())
