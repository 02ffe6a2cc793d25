"""DeiT III (Touvron et al. 2022, "DeiT III: Revenge of the ViT", arXiv 2204.07118).

ViT with LayerScale and constant stochastic depth; the position embedding has no row for the
class token, which is prepended after the positions are added. The rest of the paper is its
recipe: `configs/deit3`.
"""

import paddle

from ppcore.layers import init
from ppdeit.weights import deit3_maps
from ppvit.builders import BASE, HUGE, LARGE, SMALL
from ppvit.vit import VisionTransformer

# As the official code: LayerScale starts at 1e-4, every block has the same drop-path rate
# (timm's port of the models: 1e-6 and a linear increase, which only matters for training).
PAPER = dict(layer_scale_init=1e-4, drop_path_mode="constant")
MEDIUM = dict(embed_dim=512, depth=12, num_heads=8)


class DeiT3(VisionTransformer):
    """ViT whose position embedding [1, N, D] leaves the class token out.

    Args:
        **kwargs: those of `ppvit.VisionTransformer`. The builders below set `layer_scale_init`
            and `drop_path_mode` to the paper's values.
    """

    def _build_tokens(self) -> None:
        patches = self.grid[0] * self.grid[1]
        start = init.attr(init.TruncNormal(0.02))
        self.cls_token = self.create_parameter([1, 1, self.embed_dim], attr=start)
        self.pos_embed = self.create_parameter([1, patches, self.embed_dim], attr=start)

    def add_tokens(self, x):
        """Adds the position embedding, then prepends the class token: [B, N, D] -> [B, 1 + N, D]."""
        cls = self.cls_token.expand([x.shape[0], -1, -1])
        x = x + self.pos_embed
        return paddle.concat([cls.astype(x.dtype), x], axis=1)

    def weight_maps(self) -> dict:
        """Layouts these weights can be read from and written to, for `ppcore.weights`."""
        return deit3_maps()


def _build(size: dict, img_size: int, overrides: dict) -> DeiT3:
    return DeiT3(**{**size, **PAPER, "img_size": img_size, **overrides})


def deit3_small_patch16_224(**kwargs) -> DeiT3:
    """DeiT III ViT-S at 224 px."""
    return _build(SMALL, 224, kwargs)


def deit3_small_patch16_384(**kwargs) -> DeiT3:
    """DeiT III ViT-S at 384 px."""
    return _build(SMALL, 384, kwargs)


def deit3_medium_patch16_224(**kwargs) -> DeiT3:
    """DeiT III ViT-M at 224 px."""
    return _build(MEDIUM, 224, kwargs)


def deit3_medium_patch16_384(**kwargs) -> DeiT3:
    """DeiT III ViT-M at 384 px (the authors publish no weights of it)."""
    return _build(MEDIUM, 384, kwargs)


def deit3_base_patch16_224(**kwargs) -> DeiT3:
    """DeiT III ViT-B at 224 px."""
    return _build(BASE, 224, kwargs)


def deit3_base_patch16_384(**kwargs) -> DeiT3:
    """DeiT III ViT-B at 384 px."""
    return _build(BASE, 384, kwargs)


def deit3_large_patch16_224(**kwargs) -> DeiT3:
    """DeiT III ViT-L at 224 px."""
    return _build(LARGE, 224, kwargs)


def deit3_large_patch16_384(**kwargs) -> DeiT3:
    """DeiT III ViT-L at 384 px."""
    return _build(LARGE, 384, kwargs)


def deit3_huge_patch14_224(**kwargs) -> DeiT3:
    """DeiT III ViT-H/14 at 224 px."""
    return _build({**HUGE, "patch_size": 14}, 224, kwargs)
