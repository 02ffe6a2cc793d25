"""Image transforms: `transform(image, rng) -> image`.

`image` is uint8 [H, W, C], C 1 or 3; `rng` is the sample's own numpy Generator. `Normalize` comes
last and returns float32 [C, H, W]. A class with `on_sample = True` takes and returns the whole
sample (a dict) instead of its image.
"""

from ppcore.data.transforms.augment import RandAugment, ThreeAugment
from ppcore.data.transforms.auto_augment import AutoAugment
from ppcore.data.transforms.color import ColorJitter, Grayscale
from ppcore.data.transforms.geometry import CenterCrop, Resize
from ppcore.data.transforms.normalize import Normalize
from ppcore.data.transforms.paired import (
    PairedCenterCrop,
    PairedChannelShuffle,
    PairedFlipRotate,
    PairedRandomCrop,
    PairedResize,
    PairToFloat,
)
from ppcore.data.transforms.random_erasing import RandomErasing
from ppcore.data.transforms.random_geometry import RandomCrop, RandomHorizontalFlip, RandomResizedCrop
from ppcore.data.transforms.resize_image import resize_image

__all__ = [
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "Grayscale",
    "Normalize",
    "PairToFloat",
    "PairedCenterCrop",
    "PairedChannelShuffle",
    "PairedFlipRotate",
    "PairedRandomCrop",
    "PairedResize",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "ThreeAugment",
    "resize_image",
]
