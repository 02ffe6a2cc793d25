"""MAE, CAN and Jigsaw-ViT in plain torch, from their papers and the official weights' names. Nothing here imports our packages.

A block is the usual one: x + attention(norm(x)), then x + MLP(norm(x)), layer norms of epsilon 1e-6, exact GELU.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


class Attention(nn.Module):
    """Softmax(q·k / √d)·v of several heads; q, k and v are one product, in this order."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        batch, count, dim = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(dim // self.heads)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, count, dim))


class MLP(nn.Module):
    """Four times as wide inside."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, EPS), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, EPS), MLP(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """A strided convolution: [B, 3, H, W] -> [B, N, D], row by row."""

    def __init__(self, patch: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


def positions(dim: int, rows: int, columns: int) -> torch.Tensor:
    """Sines and cosines [1, 1 + N, D]: zeros for the class token, the column in the first half, the row in the second."""
    table = np.zeros((1 + rows * columns, dim))
    quarter = dim // 4
    for row in range(rows):
        for column in range(columns):
            for half, place in enumerate((column, row)):
                angles = place / 10000.0 ** (np.arange(quarter) / quarter)
                start, at = half * dim // 2, 1 + row * columns + column
                table[at, start : start + quarter] = np.sin(angles)
                table[at, start + quarter : start + 2 * quarter] = np.cos(angles)
    return torch.from_numpy(table.astype(np.float32))[None]


def patches_of(x: torch.Tensor, patch: int) -> torch.Tensor:
    """[B, 3, H, W] -> [B, N, p·p·3]: row, column, channel inside a patch."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def masked(noise: torch.Tensor, ratio: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Kept patches [B, K] in the order of their noise, each patch's place behind the shuffle [B, N], 1 where removed [B, N]."""
    shuffle = noise.argsort(1)
    restore, kept = shuffle.argsort(1), int(noise.shape[1] * (1 - ratio))
    return shuffle[:, :kept], restore, (restore >= kept).to(torch.float64)


def taken(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Tokens [B, N, D] at places [B, K]."""
    return torch.stack([one[at] for one, at in zip(tokens, places, strict=True)])


class MAE(nn.Module):
    """Encoder of what is seen, decoder of all. `img_size` is (height, width)."""

    def __init__(
        self,
        *,
        img_size,
        patch_size,
        embed_dim,
        depth,
        num_heads,
        decoder_embed_dim,
        decoder_depth,
        decoder_num_heads,
        **extra,
    ):
        super().__init__()
        rows, columns = (side // patch_size for side in img_size)
        self.patch = patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(positions(embed_dim, rows, columns), requires_grad=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = nn.Parameter(positions(decoder_embed_dim, rows, columns), requires_grad=False)
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self.decoder_embed = nn.Linear(embed_dim, decoder_embed_dim)
        self.decoder_blocks = nn.ModuleList(Block(decoder_embed_dim, decoder_num_heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, EPS)
        self.decoder_pred = nn.Linear(decoder_embed_dim, patch_size**2 * 3)

    def visible(self, x, keep=None):
        """[B, 1 + K, D], before the blocks; all patches where `keep` is None."""
        tokens = self.patch_embed(x) + self.pos_embed[:, 1:]
        tokens = tokens if keep is None else taken(tokens, keep)
        return torch.cat([(self.cls_token + self.pos_embed[:, :1]).repeat(len(x), 1, 1), tokens], 1)

    def encode(self, tokens):
        """Through blocks and norm."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, latent, restore):
        """[B, 1 + K, D] -> [B, N, p·p·3]."""
        seen = self.decoder_embed(latent)
        hidden = self.mask_token.repeat(len(seen), restore.shape[1] + 1 - seen.shape[1], 1)
        every = taken(torch.cat([seen[:, 1:], hidden], 1), restore)
        tokens = torch.cat([seen[:, :1], every], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:]


def target_of(x, patch: int, norm_pix: bool):
    """What is to be predicted; the variance is the unbiased one."""
    target = patches_of(x, patch)
    if not norm_pix:
        return target
    return (target - target.mean(-1, keepdim=True)) / (target.var(-1, unbiased=True, keepdim=True) + EPS).sqrt()


def error(predicted, target, weights):
    """Squared error, its mean over a patch's pixels, its mean over the patches of weight 1."""
    return (((predicted - target) ** 2).mean(-1) * weights).sum() / weights.sum()


def mae_loss(predicted, x, patch: int, removed, norm_pix: bool):
    """Mean over the removed patches of the mean squared error of their pixels, each patch by its own mean and unbiased variance."""
    return error(predicted, target_of(x, patch, norm_pix), removed.to(predicted.dtype))


class CAN(MAE):
    """MAE of noisy views, a projection for the contrast and a decoder that is told the noise level; the class token takes part in neither."""

    def __init__(self, *, projection_dim: int, noise_dim: int, **sizes):
        super().__init__(**sizes)
        dim, self.noise_dim = sizes["embed_dim"], noise_dim
        self.projection_head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projection_dim))
        self.noise_pe_mlp = nn.Sequential(nn.Linear(noise_dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def level(self, sigma):
        """[B] -> [B, D]."""
        half = self.noise_dim // 2
        angles = sigma[:, None] * torch.tensor([10000.0 ** (-i / (half - 1)) for i in range(half)], dtype=sigma.dtype)
        return self.noise_pe_mlp(torch.cat([angles.sin(), angles.cos()], 1))

    def views(self, noisy, sigma, keep, restore):
        """Latent, projection and prediction of noisy views."""
        latent = self.encode(self.visible(noisy, keep))
        told = torch.cat([latent[:, :1], latent[:, 1:] + self.level(sigma)[:, None]], 1)
        return latent, self.projection_head(latent[:, 1:].mean(1)), self.decode(told, restore)


def contrast(first, second, temperature: float):
    """NT-Xent, the mean over all 2B anchors: of the 2B - 1 other views, which is of the same image?"""
    z = F.normalize(torch.cat([first, second]), dim=1)
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    partner = torch.arange(len(z)).roll(len(first))
    return F.cross_entropy(logits, partner)


def can_losses(model: CAN, clean, noise, sigma, noise_of_mask, ratio: float, temperature: float):
    """Contrast; squared error of removed patches against the clean view; of visible ones against the noise. And the stages by name."""
    keep, restore, removed = masked(noise_of_mask, ratio)
    removed = removed.to(clean.dtype)
    latent, projected, predicted = model.views(clean + noise, sigma, keep, restore)
    first, second = projected.chunk(2)
    parts = [
        contrast(first, second, temperature),
        error(predicted, patches_of(clean, model.patch), removed),
        error(predicted, patches_of(noise, model.patch), 1 - removed),
    ]
    return torch.stack(parts), {"latent": latent, "projected": projected, "predicted": predicted}


class JigsawViT(nn.Module):
    """A DeiT with a head that says where patches were which it sees without positions."""

    def __init__(self, *, img_size, patch_size, embed_dim, depth, num_heads, num_classes):
        super().__init__()
        count = img_size[0] // patch_size * (img_size[1] // patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + count, embed_dim))
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self.head = nn.Linear(embed_dim, num_classes)
        wide = nn.Linear(embed_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, embed_dim), nn.ReLU()
        self.jigsaw = nn.Sequential(*wide, nn.Linear(embed_dim, count))

    def trunk(self, patches, positions=None):
        tokens = torch.cat([self.cls_token.repeat(len(patches), 1, 1), patches], 1)
        tokens = tokens if positions is None else tokens + positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, x, keep):
        """Logits of the classes [B, K] and of the positions of the patches `keep` [B, k, N]."""
        patches = self.patch_embed(x)
        return self.head(self.trunk(patches, self.pos_embed)[:, 0]), self.jigsaw(
            self.trunk(taken(patches, keep))[:, 1:]
        )


def jigsaw_loss(logits, target, places, keep, weight: float):
    """Cross-entropy with probabilities of the classes as targets, and `weight` times that of the positions, meaned over batch and patches."""
    return F.cross_entropy(logits, target) + weight * F.cross_entropy(places.flatten(0, 1), keep.flatten())


def fill(model: nn.Module, seed: int) -> None:
    """In the order of the parameters, z standard normal: gains 1 + 0.1 z; biases 0.05 z; class and mask tokens 0.02 z, so that a layer
    norm's epsilon counts; learned positions 0.05 z; the decoder's first weights 0.1 z / sqrt(inputs), others z / sqrt(inputs). Fixed
    positions stay."""
    rng = np.random.default_rng(seed)
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        z = rng.standard_normal(tuple(p.shape))
        if name.endswith("bias"):
            values = 0.05 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z
        elif name.endswith("_token"):
            values = 0.02 * z
        elif name == "pos_embed":
            values = 0.05 * z
        else:
            values = (0.1 if name.startswith("decoder_embed") else 1.0) * z / np.sqrt(np.prod(z.shape[1:]))
        with torch.no_grad():
            p.copy_(torch.from_numpy(values.astype(np.float32)))


def arrays(model: nn.Module, what=lambda p: p) -> dict[str, np.ndarray]:
    """`what(parameter)` of every parameter that has one."""
    found = {name: what(p) for name, p in model.named_parameters()}
    return {name: one.detach().numpy().copy() for name, one in found.items() if one is not None}
