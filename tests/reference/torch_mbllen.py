"""MBLLEN in plain torch, from the description of its layers, and its loss without the context term; nothing of ours.

Layers have the numbers of the released network; arrays go in and out in Keras's layouts.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class MBLLEN(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.depth = depth
        w, h, q = width, width // 2, width // 4
        layers = {}
        for i in range(depth):
            layers[f"conv2d_{5 * i + 1}"] = nn.Conv2d(w if i else 3, w, 3, padding=1)
            layers[f"conv2d_{5 * i + 2}"] = nn.Conv2d(w, q, 3, padding=1)
            for j, (a, b) in enumerate(((q, q), (q, h), (h, w))):
                layers[f"conv2d_{5 * i + 3 + j}"] = nn.Conv2d(a, b, 5)
            for j, (a, b) in enumerate(((w, h), (h, q), (q, 3))):
                layers[f"conv2d_transpose_{3 * i + 1 + j}"] = nn.ConvTranspose2d(a, b, 5)
        layers[f"conv2d_{5 * depth + 1}"] = nn.Conv2d(3 * depth, 3, 1)
        self.layers = nn.ModuleDict(layers)

    def feature(self, i, x):
        """A feature before its ReLU, of the image or of the one before it."""
        return self.layers[f"conv2d_{5 * i + 1}"](x)

    def branch(self, i, y):
        """What a branch makes of its feature."""
        for j in range(4):
            y = F.relu(self.layers[f"conv2d_{5 * i + 2 + j}"](y))
        for j in range(3):
            y = F.relu(self.layers[f"conv2d_transpose_{3 * i + 1 + j}"](y))
        return y

    def fused(self, results):
        """The image, of the branches' results."""
        return F.relu(self.layers[f"conv2d_{5 * self.depth + 1}"](torch.cat(results, 1)))

    def forward(self, x):
        """The result, the features before their ReLU and the branches' results."""
        found, results = {}, []
        for i in range(self.depth):
            x = found[f"feature{i}"] = self.feature(i, x)
            x = F.relu(x)
            results.append(self.branch(i, x))
            found[f"branch{i}"] = results[-1]
        return found | {"y": self.fused(results)}


def keras(model, read=lambda p: p):
    """Arrays by Keras's names and in its layouts: kernels (h, w, in, out), transposed ones (h, w, out, in)."""
    found = {}
    for name, layer in model.layers.items():
        found[f"{name}/kernel:0"] = read(layer.weight).detach().permute(2, 3, 1, 0).numpy().copy()
        found[f"{name}/bias:0"] = read(layer.bias).detach().numpy().copy()
    return found


def fill(model, seed):
    """Kernels sqrt(2) z / sqrt(kh kw in), biases 0.05 + 0.02 z; z standard normal in the order of the layers."""
    rng = np.random.default_rng(seed)
    for layer in model.layers.values():
        inputs = layer.in_channels * layer.kernel_size[0] ** 2
        weight = rng.standard_normal(tuple(layer.weight.shape)) * np.sqrt(2 / inputs)
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(0.05 + 0.02 * rng.standard_normal(tuple(layer.bias.shape))))


def ssim(x, y):
    """Structural similarity of [B, C, H, W], 11x11 Gaussian windows (sigma 1.5) inside the images, a mean."""
    places = torch.arange(11, dtype=x.dtype) - 5
    line = torch.exp(-0.5 * (places / 1.5) ** 2)
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(z):
        return F.conv2d(z, window.expand(z.shape[1], 1, 11, 11), groups=z.shape[1])

    a, b = mean(x), mean(y)
    aa, bb, ab = mean(x * x) - a * a, mean(y * y) - b * b, mean(x * y) - a * b
    return ((2 * a * b + 1e-4) * (2 * ab + 9e-4) / ((a * a + b * b + 1e-4) * (aa + bb + 9e-4))).mean()


def loss(y, target):
    """MAE + 3 (1 - SSIM) + mean((1 + 3 m) |y - t|), m the darkest 40 % of y by .39 R + .5 G + .11 B."""
    luma = (0.39 * y[:, 0] + 0.5 * y[:, 1] + 0.11 * y[:, 2]).detach()
    place = int(luma[0].numel() * 0.4 - 1)
    threshold = luma.flatten(1).sort(1).values[:, place]
    mask = (luma <= threshold[:, None, None]).to(y.dtype).unsqueeze(1)
    error = (y - target).abs()
    return error.mean() + 3 * (1 - ssim(y, target)) + ((1 + 3 * mask) * error).mean()
