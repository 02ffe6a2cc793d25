"""Vision transformers of published sizes (ViT table 1; Steiner et al. 2022 for tiny and small)."""

from ppvit.vit import VisionTransformer

TINY = dict(embed_dim=192, depth=12, num_heads=3)
SMALL = dict(embed_dim=384, depth=12, num_heads=6)
BASE = dict(embed_dim=768, depth=12, num_heads=12)
LARGE = dict(embed_dim=1024, depth=24, num_heads=16)
HUGE = dict(embed_dim=1280, depth=32, num_heads=16)


def build(size: dict, defaults: dict, overrides: dict) -> VisionTransformer:
    """A VisionTransformer of a named size; `overrides` (any constructor argument) win."""
    return VisionTransformer(**{**size, **defaults, **overrides})


def vit_tiny_patch16_224(**kwargs) -> VisionTransformer:
    """ViT-Ti/16 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(TINY, dict(patch_size=16, img_size=224), kwargs)


def vit_tiny_patch16_384(**kwargs) -> VisionTransformer:
    """ViT-Ti/16 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(TINY, dict(patch_size=16, img_size=384), kwargs)


def vit_small_patch32_224(**kwargs) -> VisionTransformer:
    """ViT-S/32 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(SMALL, dict(patch_size=32, img_size=224), kwargs)


def vit_small_patch32_384(**kwargs) -> VisionTransformer:
    """ViT-S/32 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(SMALL, dict(patch_size=32, img_size=384), kwargs)


def vit_small_patch16_224(**kwargs) -> VisionTransformer:
    """ViT-S/16 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(SMALL, dict(patch_size=16, img_size=224), kwargs)


def vit_small_patch16_384(**kwargs) -> VisionTransformer:
    """ViT-S/16 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(SMALL, dict(patch_size=16, img_size=384), kwargs)


def vit_base_patch32_224(**kwargs) -> VisionTransformer:
    """ViT-B/32 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(BASE, dict(patch_size=32, img_size=224), kwargs)


def vit_base_patch32_384(**kwargs) -> VisionTransformer:
    """ViT-B/32 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(BASE, dict(patch_size=32, img_size=384), kwargs)


def vit_base_patch16_224(**kwargs) -> VisionTransformer:
    """ViT-B/16 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(BASE, dict(patch_size=16, img_size=224), kwargs)


def vit_base_patch16_384(**kwargs) -> VisionTransformer:
    """ViT-B/16 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(BASE, dict(patch_size=16, img_size=384), kwargs)


def vit_base_patch8_224(**kwargs) -> VisionTransformer:
    """ViT-B/8 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(BASE, dict(patch_size=8, img_size=224), kwargs)


def vit_large_patch32_224(**kwargs) -> VisionTransformer:
    """ViT-L/32 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(LARGE, dict(patch_size=32, img_size=224), kwargs)


def vit_large_patch32_384(**kwargs) -> VisionTransformer:
    """ViT-L/32 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(LARGE, dict(patch_size=32, img_size=384), kwargs)


def vit_large_patch16_224(**kwargs) -> VisionTransformer:
    """ViT-L/16 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(LARGE, dict(patch_size=16, img_size=224), kwargs)


def vit_large_patch16_384(**kwargs) -> VisionTransformer:
    """ViT-L/16 at 384 px. Keyword arguments are those of `VisionTransformer`."""
    return build(LARGE, dict(patch_size=16, img_size=384), kwargs)


def vit_huge_patch14_224(**kwargs) -> VisionTransformer:
    """ViT-H/14 at 224 px. Keyword arguments are those of `VisionTransformer`."""
    return build(HUGE, dict(patch_size=14, img_size=224), kwargs)
