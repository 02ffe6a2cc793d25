"""ppswin: Swin Transformer on PaddlePaddle."""

import ppcore  # noqa: F401  (what must happen before Paddle is imported)
from ppswin.swin import SwinTransformer
from ppswin.swin_builders import (
    swin_base_patch4_window7_224,
    swin_base_patch4_window7_224_22k,
    swin_base_patch4_window12_384,
    swin_base_patch4_window12_384_22k,
    swin_large_patch4_window7_224,
    swin_large_patch4_window7_224_22k,
    swin_large_patch4_window12_384,
    swin_large_patch4_window12_384_22k,
    swin_small_patch4_window7_224,
    swin_small_patch4_window7_224_22k,
    swin_tiny_patch4_window7_224,
    swin_tiny_patch4_window7_224_22k,
)

__all__ = [
    "SwinTransformer",
    "swin_base_patch4_window7_224",
    "swin_base_patch4_window7_224_22k",
    "swin_base_patch4_window12_384",
    "swin_base_patch4_window12_384_22k",
    "swin_large_patch4_window7_224",
    "swin_large_patch4_window7_224_22k",
    "swin_large_patch4_window12_384",
    "swin_large_patch4_window12_384_22k",
    "swin_small_patch4_window7_224",
    "swin_small_patch4_window7_224_22k",
    "swin_tiny_patch4_window7_224",
    "swin_tiny_patch4_window7_224_22k",
]
