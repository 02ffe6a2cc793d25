"""DINO in plain torch, from the paper's formulas and the facts of its published files; nothing of ours.

Tensors have the names of the authors' files. Functions take the networks; a training is `train`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        batch, count, dim = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, count, dim))


class MLP(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), MLP(dim, 4 * dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    def __init__(self, dim, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Backbone(nn.Module):
    """A ViT without classifier: [B, 3, H, W] of any number of whole patches -> the class token [B, D]."""

    def __init__(self, *, img_size, patch_size, embed_dim, depth, num_heads):
        super().__init__()
        self.patch, self.side = patch_size, img_size // patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, embed_dim))
        self.patch_embed = Patches(embed_dim, patch_size)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)

    def positions(self, height, width):
        """Bicubic between pixel centres; where a source lies follows the factor (new + 0.1) / old, not the two sizes."""
        rows, columns = height // self.patch, width // self.patch
        if rows * columns == self.side**2 and height == width:
            return self.pos_embed
        table = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        factors = (rows + 0.1) / self.side, (columns + 0.1) / self.side
        table = F.interpolate(table, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], 1)

    def forward(self, x):
        cls = self.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([cls, self.patch_embed(x)], 1) + self.positions(*x.shape[2:])
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]


class LastLayer(nn.Module):
    """x · (g · v / |v|), a length for each output."""

    def __init__(self, dim, outputs):
        super().__init__()
        self.weight_g, self.weight_v = nn.Parameter(torch.ones(outputs, 1)), nn.Parameter(torch.zeros(outputs, dim))

    def forward(self, x):
        return x @ (self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)).T


class Head(nn.Module):
    def __init__(self, dim, outputs, hidden, bottleneck):
        super().__init__()
        layers = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        self.mlp, self.last_layer = nn.Sequential(*layers), LastLayer(bottleneck, outputs)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1, eps=1e-12))


class Network(nn.Module):
    """A backbone and a head. `free`: whether the lengths g of the last layer are trained."""

    def __init__(self, backbone, outputs, hidden, bottleneck, free=False):
        super().__init__()
        self.backbone = Backbone(**backbone)
        self.head = Head(backbone["embed_dim"], outputs, hidden, bottleneck)
        self.head.last_layer.weight_g.requires_grad = free

    def forward(self, crops):
        """Outputs [V · B, K], crop after crop."""
        return self.head(torch.cat([self.backbone(crop) for crop in crops]))


def fill(network, rng):
    """Tensor by tensor in the order of the state, z standard normal: gains 1 + 0.1 z; biases 0.05 z; tokens and positions 0.3 z; lengths g 1; other weights z / sqrt(inputs)."""
    for name, tensor in network.state_dict().items():
        z = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("weight_g"):
            values = np.ones_like(z)
        elif name.endswith(("cls_token", "pos_embed")):
            values = 0.3 * z
        elif z.ndim > 1:
            values = z / np.sqrt(np.prod(z.shape[1:]))
        else:
            values = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def targets(outputs, center, temperature):
    """The teacher's centred, sharpened probabilities."""
    return ((outputs - center) / temperature).softmax(-1).detach()


def cross_entropy(student, taught, temperature):
    """Mean over all pairs of a global crop and another crop, and over the batch, of -Σ q log p, q the teacher's probabilities of the global crop and p the student's of the other at its own temperature."""
    q = taught.chunk(2)
    size = len(q[0])
    p = (student / temperature).log_softmax(-1).split(size)
    pairs = [-(a * b).sum(-1).mean() for g, a in enumerate(q) for v, b in enumerate(p) if v != g]
    return sum(pairs) / len(pairs)


def entropy(q):
    """Mean entropy of rows of probabilities."""
    return -(q * q.clamp(min=1e-30).log()).sum(-1).mean()


def cosine(first, last, step, total):
    """Half a cosine that would be at `last` in step `total`."""
    return last + (first - last) * (1 + math.cos(math.pi * step / total)) / 2


def rate(recipe, step):
    """From 0 to the peak by the last step of the warm-up, and from the peak again by a cosine."""
    warmup = recipe["warmup_epochs"] * recipe["steps_per_epoch"]
    if step < warmup:
        return recipe["lr"] * step / (warmup - 1)
    return cosine(recipe["lr"], recipe["min_lr"], step - warmup, recipe["steps"] - warmup)


def temperature(recipe, step):
    """The teacher's: in a line over the epochs of its warm-up, both ends among them."""
    epochs, epoch = recipe["temperature_warmup_epochs"], step // recipe["steps_per_epoch"]
    first, last = recipe["warmup_temperature"], recipe["temperature"]
    return first + (last - first) * min(epoch / max(epochs - 1, 1), 1) if epoch < epochs else last


def norms(network, what=lambda p: p):
    """L2 norm of `what(parameter)` of every parameter, 0 where there is none."""
    found = (what(p) for p in network.parameters())
    return [0.0 if t is None else float(t.detach().double().norm()) for t in found]


def train(student, teacher, center, crops_at, recipe):
    """A training of `recipe["steps"]` steps; networks and `center` [1, K] change in place.

    Args:
        student: trained.
        teacher: its moving average.
        center: of the teacher's outputs.
        crops_at: step -> crops, the two global ones first, each [B, 3, H, W].
        recipe: rates, temperatures, momenta, epochs.

    Returns:
        Of every step: loss, grad_norm before clipping, entropy, center [K] after it; gradients: each tensor's norm before
        clipping; student, teacher: each tensor's norm after it.
    """
    named = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
    decayed, plain = ([p for _, p in named if (p.ndim > 1) == matrix] for matrix in (True, False))
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    curves = {name: [] for name in ("loss", "grad_norm", "entropy", "center", "gradients", "student", "teacher")}
    for step in range(recipe["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, step)
        optimizer.param_groups[0]["weight_decay"] = cosine(*recipe["weight_decay"], step, recipe["steps"])
        crops = crops_at(step)
        with torch.no_grad():
            outputs = teacher(crops[:2])
        q = targets(outputs, center, temperature(recipe, step))
        loss = cross_entropy(student(crops), q, recipe["student_temperature"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        curves["gradients"].append(norms(student, lambda p: p.grad))
        curves["grad_norm"].append(math.hypot(*curves["gradients"][-1]))
        for name, p in named:
            p.grad *= min(recipe["clip"] / (float(p.grad.norm()) + 1e-6), 1)
            if step < recipe["freeze_epochs"] * recipe["steps_per_epoch"] and "last_layer" in name:
                p.grad = None
        optimizer.step()
        momentum = cosine(recipe["momentum"], 1.0, step, recipe["steps"])
        with torch.no_grad():
            for ours, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                ours.mul_(momentum).add_((1 - momentum) * theirs)
            center.mul_(recipe["center_momentum"]).add_((1 - recipe["center_momentum"]) * outputs.mean(0, keepdim=True))
        for name, value in (("loss", loss.item()), ("entropy", float(entropy(q))), ("center", center[0].tolist())):
            curves[name].append(value)
        curves["student"].append(norms(student))
        curves["teacher"].append(norms(teacher))
    return {name: np.array(values) for name, values in curves.items()}
