"""A wide residual network and the losses of FixMatch and of pseudo-labels in plain torch, from the papers; nothing of ours.

Tensors have the names and layouts of Paddle's: a linear weight is (in, out), running statistics are `_mean` and `_variance`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    """Batch norm of epsilon 1e-3. Statistics move by a thousandth, unless `kept`; their variance is the biased one of the batch."""

    def __init__(self, c):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))
        self.register_buffer("_mean", torch.zeros(c))
        self.register_buffer("_variance", torch.ones(c))
        self.kept = False

    def forward(self, x):
        mean, variance = self._mean, self._variance
        if self.training:
            mean = x.mean((0, 2, 3))
            variance = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
            if not self.kept:
                with torch.no_grad():
                    self._mean.mul_(0.999).add_(0.001 * mean)
                    self._variance.mul_(0.999).add_(0.001 * variance)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Convolution(nn.Module):
    """Padded as TensorFlow's `same`: what is odd goes below and to the right."""

    def __init__(self, c, out, kernel, stride=1):
        super().__init__()
        self.weight, self.stride = nn.Parameter(torch.zeros(out, c, kernel, kernel)), stride

    def forward(self, x):
        sides = []
        for n in (x.shape[3], x.shape[2]):
            total = max((math.ceil(n / self.stride) - 1) * self.stride + self.weight.shape[2] - n, 0)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), self.weight, stride=self.stride)


def active(x):
    """Leaky ReLU of slope 0.1."""
    return torch.where(x > 0, x, 0.1 * x)


class Unit(nn.Module):
    """x' = shortcut + conv(active(norm(conv(active(norm(x)))))); the network's first unit takes its shortcut after the activation."""

    def __init__(self, c, out, stride, first):
        super().__init__()
        self.norm1, self.conv1 = Norm(c), Convolution(c, out, 3, stride)
        self.norm2, self.conv2 = Norm(out), Convolution(out, out, 3)
        self.shortcut = Convolution(c, out, 1, stride) if c != out else nn.Identity()
        self.first = first

    def forward(self, x):
        y = active(self.norm1(x))
        return self.shortcut(y if self.first else x) + self.conv2(active(self.norm2(self.conv1(y))))


class WideResNet(nn.Module):
    """Every stage by name; maps as (B, H, W, C)."""

    def __init__(self, units, width, groups, stem, in_chans, num_classes):
        super().__init__()
        self.stem, c = Convolution(in_chans, stem, 3), stem
        made = []
        for g in range(groups):
            own = []
            for u in range(units):
                own.append(Unit(c, width << g, 2 if g and not u else 1, not g and not u))
                c = width << g
            made.append(nn.Sequential(*own))
        self.groups, self.norm = nn.ModuleList(made), Norm(c)
        self.head = nn.Module()
        self.head.weight = nn.Parameter(torch.zeros(c, num_classes))
        self.head.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        x = self.stem(x)
        stages = {"stem": x}
        for g, group in enumerate(self.groups):
            x = stages[f"group_{g}"] = group(x)
        stages["norm"] = active(self.norm(x))
        stages = {name: value.permute(0, 2, 3, 1) for name, value in stages.items()}
        pooled = stages["pre_logits"] = stages["norm"].mean((1, 2))
        stages["logits"] = pooled @ self.head.weight + self.head.bias
        return stages


def fill(model, seed):
    """Tensor by tensor in the order of the state, z standard normal: gains 1 + 0.1 z; biases and running means 0.05 z; running variances exp(0.2 z); other weights z · sqrt(2 / inputs)."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        z = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("_variance"):
            values = np.exp(0.2 * z)
        elif z.ndim > 1:
            inputs = z.shape[0] if z.ndim == 2 else np.prod(z.shape[1:])
            values = z * np.sqrt(2 / inputs)
        else:
            values = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def arrays(model, read=lambda tensor: tensor, running=True):
    """`read` of every tensor (itself, or its gradient) by name; without `running` those of the norms' statistics are left out."""
    tensors = dict(model.state_dict(keep_vars=True))
    return {
        name: read(tensor).detach().numpy().copy()
        for name, tensor in tensors.items()
        if running or not name.endswith(("_mean", "_variance"))
    }


def cross_entropy(logits, labels):
    """Each row's, [B]."""
    return -logits.log_softmax(-1)[torch.arange(len(labels)), labels]


def most_likely(logits):
    """Probability and number of each row's most likely class, without gradient."""
    return logits.detach().softmax(-1).max(-1)


def fixmatch(weak, strong, threshold):
    """1/(μB) Σ 1[max q ≥ τ] H(argmax q, strong); and which are kept."""
    highest, labels = most_likely(weak)
    kept = (highest >= threshold).to(strong.dtype)
    return (kept * cross_entropy(strong, labels)).sum() / len(strong), kept


def fixmatch_soft(weak, strong, threshold, temperature):
    """The same with q at a temperature in place of its label."""
    kept = (most_likely(weak)[0] >= threshold).to(strong.dtype)
    q = (weak.detach() / temperature).softmax(-1)
    return (kept * -(q * strong.log_softmax(-1)).sum(-1)).sum() / len(strong), kept


def pseudo_label(logits, threshold, strict):
    """1/B Σ 1[max q > τ] H(argmax q, the same logits), or ≥; and which are kept."""
    highest, labels = most_likely(logits)
    kept = (highest > threshold if strict else highest >= threshold).to(logits.dtype)
    return (kept * cross_entropy(logits, labels)).sum() / len(logits), kept


def sigmoid_cross_entropy(logits, labels):
    """Lee's: of K yes-or-no questions, summed over them, the mean over rows."""
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits)).sum(1).mean()


def ramp(step, peak, start, end):
    """0 up to `start`, in a line to `peak` at `end`, then that."""
    return peak if step >= end else peak * max(step - start, 0) / (end - start)
