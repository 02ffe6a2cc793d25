"""Random operations on uint8 [H, W, C] images, of which RandAugment and AutoAugment are made.

What an operation does at a magnitude is what it does in the timm release that DeiT's code uses.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ppcore.data.ranges import check, check_choice
from ppcore.data.transforms import image_ops, warp

Levels = dict[str, Callable[[float, int], float]]

VALUE_OPERATIONS: dict[str, Callable] = {
    "AutoContrast": image_ops.auto_contrast,
    "Equalize": image_ops.equalize,
    "Invert": image_ops.invert,
    "Posterize": image_ops.posterize,
    "Solarize": image_ops.solarize,
    "SolarizeAdd": image_ops.solarize_add,
    "Color": image_ops.color,
    "Contrast": image_ops.contrast,
    "Brightness": image_ops.brightness,
    "Sharpness": image_ops.sharpness,
}
GEOMETRIC_OPERATIONS: dict[str, Callable] = {
    "Rotate": warp.rotate,
    "ShearX": warp.shear_x,
    "ShearY": warp.shear_y,
    "TranslateXRel": warp.translate_x,
    "TranslateYRel": warp.translate_y,
}
OPERATIONS = (*VALUE_OPERATIONS, *GEOMETRIC_OPERATIONS)

# Argument of an operation from its level (magnitude / 10, 0..1) and a random sign; the unsigned ones
# ignore it. AutoContrast, Equalize and Invert have none.
INCREASING: Levels = {
    "Posterize": lambda level, sign: 4 - int(level * 4),  # bits kept
    "Solarize": lambda level, sign: 256 - int(level * 256),  # threshold
    "SolarizeAdd": lambda level, sign: int(level * 110),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), lambda level, sign: 1 + sign * 0.9 * level),
    "Rotate": lambda level, sign: sign * 30 * level,  # degrees
    **dict.fromkeys(("ShearX", "ShearY"), lambda level, sign: sign * 0.3 * level),
    **dict.fromkeys(("TranslateXRel", "TranslateYRel"), lambda level, sign: sign * 0.45 * level),  # of the side
}
# AutoAugment's scales, on which some operations grow weaker with the magnitude.
NOT_INCREASING: Levels = {
    **INCREASING,
    "Posterize": lambda level, sign: int(level * 4),
    "Solarize": lambda level, sign: int(level * 256),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), lambda level, sign: 1.8 * level + 0.1),
}


class Operation(NamedTuple):
    """One drawn operation.

    Attributes:
        name: of OPERATIONS.
        argument: degrees, bits, threshold, factor or share, signed; None where there is none.
        kernel: of the geometric ones.
    """

    name: str
    argument: float | None
    kernel: warp.Kernel


class RandomOperations(ABC):
    """Base of what draws operations for an image and applies them one after another.

    A subclass says in `choose` which, with what probability and how strongly. Images of one channel work: Color
    leaves them, and `fill` becomes its luma.

    Args:
        levels: argument of an operation from its level, 0..1, and a sign; by name, for those that have one.
        magnitude_std: standard deviation of the magnitudes.
        fill: colour of what geometric operations bring in from outside, 0..255, one number or one a channel.
        interpolation: of the geometric operations; `random` draws bilinear or bicubic each time.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        levels: Levels,
        magnitude_std: float,
        fill: Sequence[int],
        interpolation: Literal["bicubic", "bilinear", "random"],
    ):
        check(0 <= magnitude_std < math.inf, self, "magnitude_std", magnitude_std, "a number from 0 on")
        fits = len(fill) in (1, 3) and 0 <= min(fill) <= max(fill) <= 255
        check(fits, self, "fill", list(fill), "one or three numbers within 0..255")
        check_choice(self, "interpolation", interpolation, ("bicubic", "bilinear", "random"))
        self.levels = levels
        self.magnitude_std = magnitude_std
        self.kernels: tuple[warp.Kernel, ...] = (
            ("bilinear", "bicubic") if interpolation == "random" else (interpolation,)
        )
        colour = np.resize(np.array(fill, np.uint8), 3)
        self.fill = {3: colour, 1: image_ops.grayscale(colour[None, None])[0, 0, :1]}

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for operation in self.draw(rng):
            image = self.apply(image, operation)
        return image

    @abstractmethod
    def choose(self, rng: np.random.Generator) -> Iterable[tuple[str, float, float]]:
        """The operations that one image may get: name, probability, mean magnitude (0..10)."""

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """Draws the operations for one image, without those that are not to be applied."""
        drawn = []
        for name, prob, magnitude in self.choose(rng):
            if rng.random() >= prob:
                continue
            level = min(max(rng.normal(magnitude, self.magnitude_std), 0.0), 10.0) / 10
            sign = 1 if rng.random() < 0.5 else -1
            kernel = self.kernels[rng.integers(len(self.kernels))]
            argument = self.levels[name](level, sign) if name in self.levels else None
            drawn.append(Operation(name, argument, kernel))
        return drawn

    def apply(self, image: np.ndarray, operation: Operation) -> np.ndarray:
        """Applies one drawn operation to uint8 [H, W, C]."""
        name, argument, kernel = operation
        if name in GEOMETRIC_OPERATIONS:
            return GEOMETRIC_OPERATIONS[name](image, argument, self.fill[image.shape[2]], kernel)
        return VALUE_OPERATIONS[name](image) if argument is None else VALUE_OPERATIONS[name](image, argument)
