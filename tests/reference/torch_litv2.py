"""LITv2 in plain torch, from the paper's formulas; nothing of ours. Tensors have the names of the authors' files."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class DeformableConvolution(nn.Module):
    """Kernel and stride 2, no modulation: the four taps of a window are read where offsets say, bilinearly, zeros outside."""

    def __init__(self, c, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(out, c, 2, 2)), nn.Parameter(torch.zeros(out))
        self.conv_offset = nn.Conv2d(c, 8, 2, stride=2)

    def forward(self, x):
        offset = self.conv_offset(x)  # (dy, dx) of taps (0, 0), (0, 1), (1, 0), (1, 1)
        h, w = offset.shape[2:]
        y = self.bias[:, None, None]
        for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            rows = 2 * torch.arange(h)[:, None] + i + offset[:, 2 * k]
            columns = 2 * torch.arange(w) + j + offset[:, 2 * k + 1]
            y = y + torch.einsum("oc,bchw->bohw", self.weight[:, :, i, j], between(x, rows, columns))
        return y


def between(x, rows, columns):
    """x [B, C, H, W] read at places [B, h, w] between its pixels: [B, C, h, w]."""
    height, width = x.shape[2:]
    top, left = rows.detach().floor(), columns.detach().floor()
    found = 0
    for row in (top, top + 1):
        for column in (left, left + 1):
            share = (1 - (rows - row).abs()) * (1 - (columns - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            pixel = x.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, x.shape[1], -1))
            found = found + pixel.view(*x.shape[:2], *place.shape[1:]) * (share * inside)[:, None]
    return found


class Norm(nn.Module):
    """Batch norm. The variance kept is the biased one of the batch, as Paddle has it on a CPU (torch keeps the unbiased)."""

    def __init__(self, c):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))
        self.register_buffer("running_mean", torch.zeros(c))
        self.register_buffer("running_var", torch.ones(c))

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean = x.mean((0, 2, 3))
            variance = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * mean)
                self.running_var.mul_(0.9).add_(0.1 * variance)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Merging(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dconv, self.norm_layer = DeformableConvolution(c, 2 * c), Norm(2 * c)

    def forward(self, x):
        return F.gelu(self.norm_layer(self.dconv(x.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)


class HiLo(nn.Module):
    """Windows of s x s for the first heads, means of the windows as keys for the others."""

    def __init__(self, c, heads, s, alpha):
        super().__init__()
        self.s, self.d = s, c // heads
        self.low = (heads if s == 1 else int(heads * alpha)) * self.d
        self.high = c - self.low
        if self.low:
            self.l_q, self.l_kv = nn.Linear(c, self.low), nn.Linear(c, 2 * self.low)
            self.l_proj = nn.Linear(self.low, self.low)
        if self.high:
            self.h_qkv, self.h_proj = nn.Linear(c, 3 * self.high), nn.Linear(self.high, self.high)

    def attend(self, q, k, v):
        """[..., N, C] and twice [..., M, C], head by head -> [..., N, C]."""
        found = []
        for one in range(0, q.shape[-1], self.d):
            a, b, c = (t[..., one : one + self.d] for t in (q, k, v))
            found.append((a @ b.transpose(-1, -2) * self.d**-0.5).softmax(-1) @ c)
        return torch.cat(found, -1)

    def forward(self, x):
        batch, height, width = x.shape[:3]
        s, found = self.s, []
        windows = x.unfold(1, s, s).unfold(2, s, s).flatten(4).transpose(-1, -2)  # [B, H/s, W/s, s s, C]
        if self.high:
            mixed = self.h_proj(self.attend(*self.h_qkv(windows).split(self.high, -1)))
            rows = mixed.view(batch, height // s, width // s, s, s, self.high).transpose(2, 3)
            found.append(rows.reshape(batch, height, width, self.high))
        if self.low:
            q, kv = self.l_q(x.flatten(1, 2)), self.l_kv(windows.mean(3).flatten(1, 2))
            mixed = self.l_proj(self.attend(q, *kv.split(self.low, -1)))
            found.append(mixed.view(batch, height, width, self.low))
        return torch.cat(found, -1)


class DepthWise(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dwconv = nn.Conv2d(c, c, 3, padding=1, groups=c)

    def forward(self, x):
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class MLP(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.fc1, self.dwconv, self.fc2 = nn.Linear(c, hidden), DepthWise(hidden), nn.Linear(hidden, c)

    def forward(self, x):
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    def __init__(self, c, heads, s, alpha, hidden):
        super().__init__()
        self.attention = s > 0
        if s:
            self.norm1, self.attn = nn.LayerNorm(c), HiLo(c, heads, s, alpha)
        self.norm2, self.mlp = nn.LayerNorm(c), MLP(c, hidden)

    def forward(self, x):
        if self.attention:
            x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    def __init__(self, size, channels, c):
        super().__init__()
        self.proj, self.norm = nn.Conv2d(channels, c, size, stride=size), nn.LayerNorm(c)

    def forward(self, x):
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Stage(nn.Module):
    def __init__(self, blocks, merging):
        super().__init__()
        self.blocks, self.downsample = nn.ModuleList(blocks), merging


class LITv2(nn.Module):
    def __init__(
        self, *, img_size, patch_size, in_chans, num_classes, embed_dim, depths, num_heads, local_ws, alpha, mlp_ratio
    ):
        super().__init__()
        self.patch_embed = Patches(patch_size, in_chans, embed_dim)
        self.layers = nn.ModuleList()
        for i, (depth, heads, s) in enumerate(zip(depths, num_heads, local_ws, strict=True)):
            c = embed_dim * 2**i
            blocks = [Block(c, heads, s, alpha, int(c * mlp_ratio)) for _ in range(depth)]
            self.layers.append(Stage(blocks, Merging(c) if i < len(depths) - 1 else None))
        self.norm, self.head = nn.LayerNorm(c), nn.Linear(c, num_classes)

    def forward(self, x):
        """Stages by name, maps as [B, H, W, C]; `logits` at last."""
        x = self.patch_embed(x)
        found = {"patch_embed": x}
        for i, stage in enumerate(self.layers):
            for block in stage.blocks:
                x = block(x)
            found[f"stage_{i}"] = x
            if stage.downsample is not None:
                x = found[f"merging_{i + 1}"] = stage.downsample(x)
        found["norm"] = self.norm(x)
        found["pre_logits"] = found["norm"].mean((1, 2))
        return found | {"logits": self.head(found["pre_logits"])}


def fill(model, seed):
    """Tensor by tensor in the order of the state, z standard normal: gains 1 + 0.1 z; biases and running means 0.05 z; running variances exp(0.2 z); the biases of offsets 0.4 z; other weights z / sqrt(inputs), those of offsets 0.4 times that, so that taps move by half a pixel and some leave the map."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        z = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            values = np.exp(0.2 * z)
        elif z.ndim > 1:
            values = z / np.sqrt(np.prod(z.shape[1:])) * (0.4 if "conv_offset" in name else 1)
        elif name.endswith("weight"):
            values = 1 + 0.1 * z
        else:
            values = z * (0.4 if "conv_offset" in name else 0.05)
        tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def arrays(model, read=lambda tensor: tensor, running=True):
    """`read` of every tensor (itself, or its gradient) by name; without `running` those of the batch norms' statistics are left out."""
    tensors = dict(model.state_dict(keep_vars=True))
    return {
        name: read(tensor).detach().numpy().copy()
        for name, tensor in tensors.items()
        if running or "running_" not in name
    }


def cross_entropy(stages, target):
    """Mean over the batch of the cross-entropy of the logits with probabilities as targets."""
    return -(target * stages["logits"].log_softmax(-1)).sum(-1).mean()
