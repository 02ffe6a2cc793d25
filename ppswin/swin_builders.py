"""Swin Transformers of published sizes (section 3.3); the `_22k` forms have ImageNet-22k's 21,841 classes."""

from ppswin.imagenet_22k import CLASSES_22K
from ppswin.swin import SwinTransformer

TINY = dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
SMALL = dict(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24))
BASE = dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
LARGE = dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48))
AT_224 = dict(img_size=224, window_size=7)
AT_384 = dict(img_size=384, window_size=12)


def swin_tiny_patch4_window7_224(**kwargs) -> SwinTransformer:
    """Swin-T at 224 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**TINY, **AT_224, **kwargs})


def swin_small_patch4_window7_224(**kwargs) -> SwinTransformer:
    """Swin-S at 224 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**SMALL, **AT_224, **kwargs})


def swin_base_patch4_window7_224(**kwargs) -> SwinTransformer:
    """Swin-B at 224 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**BASE, **AT_224, **kwargs})


def swin_base_patch4_window12_384(**kwargs) -> SwinTransformer:
    """Swin-B at 384 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**BASE, **AT_384, **kwargs})


def swin_large_patch4_window7_224(**kwargs) -> SwinTransformer:
    """Swin-L at 224 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**LARGE, **AT_224, **kwargs})


def swin_large_patch4_window12_384(**kwargs) -> SwinTransformer:
    """Swin-L at 384 px. Keyword arguments are those of `SwinTransformer`."""
    return SwinTransformer(**{**LARGE, **AT_384, **kwargs})


def swin_tiny_patch4_window7_224_22k(**kwargs) -> SwinTransformer:
    """Swin-T at 224 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_tiny_patch4_window7_224(**{"num_classes": CLASSES_22K, **kwargs})


def swin_small_patch4_window7_224_22k(**kwargs) -> SwinTransformer:
    """Swin-S at 224 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_small_patch4_window7_224(**{"num_classes": CLASSES_22K, **kwargs})


def swin_base_patch4_window7_224_22k(**kwargs) -> SwinTransformer:
    """Swin-B at 224 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_base_patch4_window7_224(**{"num_classes": CLASSES_22K, **kwargs})


def swin_base_patch4_window12_384_22k(**kwargs) -> SwinTransformer:
    """Swin-B at 384 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_base_patch4_window12_384(**{"num_classes": CLASSES_22K, **kwargs})


def swin_large_patch4_window7_224_22k(**kwargs) -> SwinTransformer:
    """Swin-L at 224 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_large_patch4_window7_224(**{"num_classes": CLASSES_22K, **kwargs})


def swin_large_patch4_window12_384_22k(**kwargs) -> SwinTransformer:
    """Swin-L at 384 px with ImageNet-22k's classes. Keyword arguments are those of `SwinTransformer`."""
    return swin_large_patch4_window12_384(**{"num_classes": CLASSES_22K, **kwargs})
