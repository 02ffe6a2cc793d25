"""Colour transforms with Pillow's arithmetic, which is torchvision's on PIL images."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance

from ppcore.data.ranges import check, check_choice
from ppcore.data.transforms import image_ops

Range = float | Sequence[float]


class ColorJitter:
    """Changes brightness, contrast, saturation and hue by random amounts in random order.

    Args:
        brightness: x draws the factor uniformly from [max(0, 1 - x), 1 + x]; a pair gives the range.
        contrast: likewise; factor 0 is the mean grey.
        saturation: likewise; factor 0 is the grey image.
        hue: x draws the shift uniformly from [-x, x], in turns, at most 0.5; a pair gives the range.

    Images of one channel keep their (absent) saturation and hue.

    Raises:
        ConfigError: a range is out of bounds.
    """

    def __init__(self, brightness: Range = 0.0, contrast: Range = 0.0, saturation: Range = 0.0, hue: Range = 0.0):
        self.brightness = _factor_range(brightness, "brightness")
        self.contrast = _factor_range(contrast, "contrast")
        self.saturation = _factor_range(saturation, "saturation")
        self.hue = (-hue, hue) if isinstance(hue, (int, float)) else tuple(hue)
        fits = len(self.hue) == 2 and -0.5 <= self.hue[0] <= self.hue[1] <= 0.5
        check(fits, self, "hue", hue, "within -0.5..0.5")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        enhancements = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        grey = image.shape[2] == 1
        picture = Image.fromarray(image[:, :, 0] if grey else image)
        for which in rng.permutation(4):
            amount = rng.uniform(*ranges[which])
            if ranges[which] == ((1.0, 1.0) if which < 3 else (0.0, 0.0)) or (grey and which >= 2):
                continue
            picture = enhancements[which](picture).enhance(amount) if which < 3 else shift_hue(picture, amount)
        return np.asarray(picture).reshape(image.shape)


class Grayscale:
    """Turns RGB to luma (ITU-R 601, Pillow's rounding).

    Args:
        channels: 1 gives [H, W, 1]; 3 repeats it.

    Raises:
        ConfigError: `channels` is neither 1 nor 3.
    """

    def __init__(self, channels: Literal[1, 3] = 1):
        check_choice(self, "channels", channels, (1, 3))
        self.channels = channels

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        grey = image if image.shape[2] == 1 else np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
        return np.repeat(grey, self.channels, axis=2)


class Solarize:
    """Inverts the values from a threshold on.

    Args:
        threshold: 0..256.

    Raises:
        ConfigError: it is out of range.
    """

    def __init__(self, threshold: int = 128):
        check(0 <= threshold <= 256, self, "threshold", threshold, "within 0..256")
        self.threshold = threshold

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return image_ops.solarize(image, self.threshold)


def shift_hue(picture: Image.Image, turns: float) -> Image.Image:
    """Rotates the hue of an RGB picture by `turns` (-0.5..0.5) on the 256 steps of 8-bit HSV."""
    hue, saturation, value = picture.convert("HSV").split()
    # int() truncates towards zero, as torchvision's conversion of the shift does; uint8 wraps round.
    shifted = np.asarray(hue) + np.uint8(int(turns * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert("RGB")


def _factor_range(value: Range, what: str) -> tuple[float, float]:
    bounds = (max(0.0, 1.0 - value), 1.0 + value) if isinstance(value, (int, float)) else tuple(value)
    fits = len(bounds) == 2 and 0 <= bounds[0] <= bounds[1]
    check(fits, "ColorJitter", what, value, "a number or an increasing pair, not negative")
    return bounds
