"""SimCLR in plain torch, from the paper's formulas and the facts of its published code; nothing of ours."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    """Batch norm over all axes but the channels'. The variance kept is the biased one, as Paddle has it on a CPU (torch keeps the unbiased)."""

    def __init__(self, width, shift=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if shift else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x):
        axes = [0, *range(2, x.ndim)]
        mean = x.mean(axes)
        variance = x.var(axes, unbiased=False)
        with torch.no_grad():
            self.running_mean.mul_(0.9).add_(0.1 * mean)
            self.running_var.mul_(0.9).add_(0.1 * variance)
        shape = [1, -1] + [1] * (x.ndim - 2)
        x = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt() * self.weight.view(shape)
        return x if self.bias is None else x + self.bias.view(shape)


class Residual(nn.Module):
    """Two 3x3 convolutions and what they are added to, which a 1x1 convolution fits to them where width or stride change."""

    def __init__(self, width, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), Norm(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), Norm(out)
        self.downsample = None
        if stride > 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), Norm(out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    """A residual network of two blocks for small images: [B, 3, H, W] -> the mean over positions [B, 2 · width]."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), Norm(width)
        self.layer1, self.layer2 = Residual(width, width, 1), Residual(width, 2 * width, 2)

    def forward(self, x):
        return self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))).mean((2, 3))


class Head(nn.Module):
    """Layers without bias, each with a norm, ReLU between them; the last norm has no shift."""

    def __init__(self, width, out, layers):
        super().__init__()
        self.dense = nn.ModuleList(
            nn.Linear(width, out if i == layers - 1 else width, bias=False) for i in range(layers)
        )
        self.norm = nn.ModuleList(Norm(out if i == layers - 1 else width, i < layers - 1) for i in range(layers))

    def forward(self, x):
        for i, (dense, norm) in enumerate(zip(self.dense, self.norm, strict=True)):
            x = norm(dense(x if i == 0 else F.relu(x)))
        return x


class Contrast(nn.Module):
    def __init__(self, *, width, out, layers):
        super().__init__()
        self.encoder, self.head = Encoder(width), Head(2 * width, out, layers)

    def forward(self, views):
        """Features and projections [2 N, …] of all first views and then all second ones, which share the norms."""
        features = self.encoder(torch.cat(views))
        return features, self.head(features)


def fill(network, seed):
    """Tensor by tensor in the order of the state, z standard normal: gains 1 + 0.1 z; biases and running means 0.05 z; running variances exp(0.2 z); other weights z / sqrt(inputs)."""
    rng = np.random.default_rng(seed)
    for name, tensor in network.state_dict().items():
        z = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            values = np.exp(0.2 * z)
        elif z.ndim > 1:
            values = z / np.sqrt(np.prod(z.shape[1:]))
        else:
            values = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def per_anchor(projections, temperature):
    """-log of the share of exp(cosine / temperature) that the other view has among all 2 N - 1 other rows, of each row."""
    count = len(projections)
    unit = projections * projections.square().sum(1, keepdim=True).clamp(min=1e-12).rsqrt()
    similarity = unit @ unit.T / temperature
    others = similarity.masked_fill(torch.eye(count, dtype=bool), -math.inf)
    partner = torch.arange(count).roll(count // 2)
    return others.logsumexp(1) - similarity[torch.arange(count), partner]


def nt_xent(projections, temperature):
    """Mean over all 2 N rows of the cross-entropy of finding the other view of their image among the 2 N - 1 other rows, by cosine / temperature."""
    return per_anchor(projections, temperature).mean()


class LARS:
    """v <- m v + lr q (g + wd w), w <- w - v; q = trust |w| / |g + wd w|, 1 where either is 0; vectors have neither decay nor q."""

    def __init__(self, parameters, *, momentum, weight_decay, trust):
        self.parameters, self.momentum, self.decay, self.trust = list(parameters), momentum, weight_decay, trust
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr):
        for p, v in zip(self.parameters, self.velocity, strict=True):
            update, q = p.grad, 1.0
            if p.ndim > 1:
                update = update + self.decay * p
                ours, theirs = float(p.norm()), float(update.norm())
                q = self.trust * ours / theirs if ours > 0 and theirs > 0 else 1.0
            v.mul_(self.momentum).add_(lr * q * update)
            p -= v


def rate(recipe, step):
    """From 0 in a line to the peak after the warm-up, then half a cosine to 0."""
    warmup, steps = recipe["warmup"], recipe["steps"]
    if step < warmup:
        return recipe["lr"] * step / warmup
    return recipe["lr"] * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def train(network, views_at, recipe):
    """A training by LARS.

    Returns:
        Of every step: loss, grad_norm; parameters: the norm of each after it; moved: how far each matrix or kernel then is
        from its first value, as a share of that one's norm.
    """
    first = {name: p.detach().clone() for name, p in network.named_parameters()}
    made = LARS(
        network.parameters(), momentum=recipe["momentum"], weight_decay=recipe["weight_decay"], trust=recipe["trust"]
    )
    curves = {"loss": [], "grad_norm": [], "parameters": [], "moved": []}
    for step in range(recipe["steps"]):
        network.zero_grad()
        loss = nt_xent(network(views_at(step))[1], recipe["temperature"])
        loss.backward()
        curves["loss"].append(loss.item())
        curves["grad_norm"].append(math.hypot(*(float(p.grad.norm()) for p in network.parameters())))
        made.step(rate(recipe, step))
        curves["parameters"].append([float(p.detach().norm()) for p in network.parameters()])
        far = {n: float((p.detach() - first[n]).norm() / first[n].norm()) for n, p in network.named_parameters()}
        curves["moved"].append([far[n] if p.ndim > 1 else 0.0 for n, p in network.named_parameters()])
    return {name: np.array(values) for name, values in curves.items()}
