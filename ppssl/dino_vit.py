"""DINO's vision transformer (Caron et al. 2021, arXiv 2104.14294): a ViT without classifier that takes images of several sizes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import paddle

from ppcore.errors import ConfigError
from ppcore.layers import PatchEmbed, init
from ppcore.layers.pos_embed import cubic_by_factor
from ppvit.builders import BASE, SMALL, TINY
from ppvit.vit import VisionTransformer

# Added to the number of patches before it is divided by the old one: keeps a resampler from rounding down to a row fewer.
_OFFSET = 0.1


class _AnySizePatchEmbed(PatchEmbed):
    """Patches of images of any whole number of patches; `img_size` is what the position embedding is of."""

    def forward(self, x):  # [B, C, H, W]
        _check_whole(x, self.patch_size)
        return self.proj(x).flatten(2).transpose([0, 2, 1])  # [B, N, D]


def _check_whole(x: paddle.Tensor, patch: tuple[int, int]) -> None:
    height, width = x.shape[2], x.shape[3]
    if (
        height > 0 and width > 0 and (height % patch[0] != 0 or width % patch[1] != 0)
    ):  # -1 where a graph leaves an axis open
        raise ConfigError(f"images of {height}x{width} are no whole number of {patch[0]}x{patch[1]} patches")


@lru_cache(maxsize=16)
def _resampling(old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """The float32 matrix [h'·w', h·w] of DINO's interpolation between two grids."""
    side = np.sqrt(old[0] * old[1])
    rows, columns = (cubic_by_factor(o, n, (n + _OFFSET) / side) for o, n in zip(old, new, strict=True))
    return np.einsum("ih,jw->ijhw", rows, columns).reshape(new[0] * new[1], -1).astype(np.float32)


def resampled_positions(pos_embed: paddle.Tensor, old: tuple[int, int], new: tuple[int, int]) -> paddle.Tensor:
    """A position embedding of another grid, as DINO's code makes it inside the network, with gradient.

    Bicubic; source coordinates follow the factor (new + 0.1) / old, so this is not the table that resampling by size gives
    (DeiT, timm, transformers, DINOv2), even where both have the same grid.

    Args:
        pos_embed: [1, 1 + h·w, D], the class token's row first, which is kept.
        old: (h, w), a square.
        new: (h', w').

    Returns:
        [1, 1 + h'·w', D].
    """
    matrix = paddle.to_tensor(_resampling(tuple(old), tuple(new)))
    return paddle.concat([pos_embed[:, :1], paddle.matmul(matrix, pos_embed[:, 1:])], axis=1)


class DINOVisionTransformer(VisionTransformer):
    """A ViT whose output is the class token after the final norm, [B, D].

    Images of another size than `img_size` get a position embedding that is resampled in every pass; so do images that are
    not square, even with as many patches.

    Args:
        img_size: size of the square images that the position embedding is of.
        settings: those of `ppvit.VisionTransformer`; `num_classes` is 0.
    """

    other_sizes = True

    def __init__(self, *, img_size: int = 224, num_classes: int = 0, **settings: Any):
        if num_classes:
            raise ConfigError("ppssl.DINOVisionTransformer has no classifier: fine-tune in ppvit.VisionTransformer")
        patch = settings.get("patch_size", 16)
        super().__init__(
            img_size=img_size,
            num_classes=0,
            embed_layer=lambda *, img_size, in_chans, embed_dim: _AnySizePatchEmbed(
                img_size, patch, in_chans, embed_dim
            ),
            **settings,
        )
        if self.grid[0] != self.grid[1]:
            raise ConfigError(f"ppssl.DINOVisionTransformer: a grid of {self.grid[0]}x{self.grid[1]} is no square")
        init.reset(self.cls_token, init.TruncNormal(0.02))

    def embed(self, x):
        height, width = x.shape[2:]
        patches = self.patch_embed(x)
        new = self.grid_of(x)
        if new[0] * new[1] == self.grid[0] * self.grid[1] and height == width:
            return self.pos_drop(self.add_tokens(patches))
        cls = self.cls_token.expand([patches.shape[0], -1, -1])
        tokens = paddle.concat([cls, patches.astype(cls.dtype)], axis=1)
        return self.pos_drop(tokens + resampled_positions(self.pos_embed, self.grid, new))

    def grid_of(self, x) -> tuple[int, int]:
        """Patches of images [B, C, H, W], down and across."""
        return tuple(size // patch for size, patch in zip(x.shape[2:], self.patch_embed.patch_size, strict=True))

    def head_attention(self, x):
        """Attention of the class token over the patches in the last block, a map a head: [B, heads, rows, columns]."""
        (*blocks, last), grid = self.blocks, self.grid_of(x)
        x = self.embed(x)
        for block in blocks:
            x = block(x)
        maps = last.attn.attention_map(last.norm1(x))[:, :, 0, 1:]
        return maps.reshape([*maps.shape[:2], *grid])

    def pictures(self, x, numbers: Any = None, show: Any = None) -> list[list[dict[str, Any]]]:
        """Panels of where each head looks (`ppssl.head_attention`), as `ppcore.model.Model` has it."""
        from ppssl.head_attention import pictures  # drawing needs more than the network does

        return pictures(self, x, show)

    def last_tokens(self, x, count: int) -> list[paddle.Tensor]:
        """Tokens [B, 1 + N, D] of the last `count` blocks, each through the final norm: what the linear evaluation reads."""
        x, found = self.embed(x), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number >= len(self.blocks) - count:
                found.append(self.norm(x))
        return found

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        from ppssl.dino_weights import backbone_maps  # the map describes this class: import when asked

        return backbone_maps()


def linear_features(tokens: Sequence[paddle.Tensor], patch_mean: bool = False) -> paddle.Tensor:
    """Features of DINO's linear evaluation, [B, n·D], or [B, 2·n·D] with the patches' mean.

    Args:
        tokens: of `last_tokens`: four blocks for ViT-S, one for ViT-B.
        patch_mean: whether the mean of the last block's patch tokens stands beside (ViT-B). It is stacked on a new last axis,
            so the channels interleave: class 0, mean 0, class 1, mean 1, …
    """
    features = paddle.concat([each[:, 0] for each in tokens], axis=-1)
    if not patch_mean:
        return features
    if len(tokens) != 1:
        raise ConfigError("linear_features: the patches' mean is defined beside one block's class token")
    return paddle.stack([features, tokens[-1][:, 1:].mean(axis=1)], axis=-1).flatten(1)


# Builders (table 1 of the paper).


def _build(size: dict, patch_size: int, overrides: dict) -> DINOVisionTransformer:
    return DINOVisionTransformer(**{**size, "patch_size": patch_size, **overrides})


def dino_vit_tiny_patch16(**kwargs) -> DINOVisionTransformer:
    """ViT-Ti/16. Keyword arguments are those of `DINOVisionTransformer`."""
    return _build(TINY, 16, kwargs)


def dino_vit_small_patch16(**kwargs) -> DINOVisionTransformer:
    """ViT-S/16. Keyword arguments are those of `DINOVisionTransformer`."""
    return _build(SMALL, 16, kwargs)


def dino_vit_small_patch8(**kwargs) -> DINOVisionTransformer:
    """ViT-S/8. Keyword arguments are those of `DINOVisionTransformer`."""
    return _build(SMALL, 8, kwargs)


def dino_vit_base_patch16(**kwargs) -> DINOVisionTransformer:
    """ViT-B/16. Keyword arguments are those of `DINOVisionTransformer`."""
    return _build(BASE, 16, kwargs)


def dino_vit_base_patch8(**kwargs) -> DINOVisionTransformer:
    """ViT-B/8. Keyword arguments are those of `DINOVisionTransformer`."""
    return _build(BASE, 8, kwargs)
