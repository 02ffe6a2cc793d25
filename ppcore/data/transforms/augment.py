"""RandAugment as DeiT trains with it, and DeiT III's 3-Augment, on uint8 [H, W, C] images.

Sources: Cubuk et al. 2020 (RandAugment); DeiT section 6 and Table 9 (`rand-m9-mstd0.5-inc1`, whose
exact meaning is that of the timm release its code uses); DeiT III section 3.2 (3-Augment).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ppcore.data.transforms import image_ops, warp
from ppcore.data.transforms.random_erasing import RandomErasing
from ppcore.errors import ConfigError

__all__ = [
    "LEVELS_NOT_INCREASING",
    "OPERATIONS",
    "Operation",
    "RandAugment",
    "RandomErasing",
    "RandomOperations",
    "ThreeAugment",
]

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
_LEVELS: dict[str, Callable[[float, int], float]] = {
    "Posterize": lambda level, sign: 4 - int(level * 4),  # bits kept
    "Solarize": lambda level, sign: 256 - int(level * 256),  # threshold
    "SolarizeAdd": lambda level, sign: int(level * 110),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), lambda level, sign: 1 + sign * 0.9 * level),
    "Rotate": lambda level, sign: sign * 30 * level,  # degrees
    **dict.fromkeys(("ShearX", "ShearY"), lambda level, sign: sign * 0.3 * level),
    **dict.fromkeys(("TranslateXRel", "TranslateYRel"), lambda level, sign: sign * 0.45 * level),  # of the side
}
# AutoAugment's scales, on which some operations grow weaker with the magnitude.
LEVELS_NOT_INCREASING = {
    **_LEVELS,
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

    A subclass says in `choose` which, with what probability and how strongly.

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
        levels: dict[str, Callable[[float, int], float]],
        magnitude_std: float,
        fill: Sequence[int],
        interpolation: Literal["bicubic", "bilinear", "random"],
    ):
        name = type(self).__name__
        if not 0 <= magnitude_std < math.inf:
            raise ConfigError(f"{name}: magnitude_std is {magnitude_std}, but must be a number from 0 on")
        if len(fill) not in (1, 3) or not 0 <= min(fill) <= max(fill) <= 255:
            raise ConfigError(f"{name}: fill is {list(fill)}, but must be one or three numbers within 0..255")
        if interpolation not in ("bicubic", "bilinear", "random"):
            raise ConfigError(f"{name}: interpolation is {interpolation!r}, but must be bicubic, bilinear or random")
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


class RandAugment(RandomOperations):
    """Applies `num_ops` random operations one after another.

    Each is drawn uniformly, with replacement, from the 15 of OPERATIONS, and applied with
    probability `prob` at a magnitude drawn from N(magnitude, magnitude_std) and clipped to 0..10.
    Signs (of angles, shears, shifts and of the change of an increasing enhancement) are random.

    Images of one channel work: Color leaves them, and `fill` becomes its luma.

    Args:
        magnitude: mean magnitude, 0..10. DeiT: 9.
        magnitude_std: its standard deviation. DeiT: 0.5.
        num_ops: operations an image.
        prob: of applying each.
        increasing: every operation grows stronger with the magnitude (DeiT).
        fill: colour of what geometric operations bring in from outside, 0..255, one number or one a
            channel. DeiT: round(255 * ImageNet's mean).
        interpolation: of the geometric operations. DeiT's training passes its `bicubic` on to them;
            timm without a setting draws bilinear or bicubic each time: `random`.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        magnitude: float = 9.0,
        magnitude_std: float = 0.5,
        num_ops: int = 2,
        prob: float = 0.5,
        increasing: bool = True,
        fill: Sequence[int] = (124, 116, 104),
        interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic",
    ):
        super().__init__(_LEVELS if increasing else LEVELS_NOT_INCREASING, magnitude_std, fill, interpolation)
        if not 0 <= magnitude <= 10:
            raise ConfigError(f"RandAugment: magnitude is {magnitude}, but must be within 0..10")
        if num_ops < 1:
            raise ConfigError(f"RandAugment: num_ops is {num_ops}, but must be at least 1")
        if not 0 <= prob <= 1:
            raise ConfigError(f"RandAugment: prob is {prob}, but must be within 0..1")
        self.magnitude = magnitude
        self.num_ops = num_ops
        self.prob = prob

    def choose(self, rng: np.random.Generator) -> list[tuple[str, float, float]]:
        which = rng.integers(len(OPERATIONS), size=self.num_ops)
        return [(OPERATIONS[i], self.prob, self.magnitude) for i in which]


class ThreeAugment:
    """One of three changes, drawn uniformly: grey, solarization, or Gaussian blur.

    DeiT III follows it with `ColorJitter` 0.3 of brightness, contrast and saturation.

    Args:
        threshold: solarization inverts values from here on, 0..256.
        sigma: smallest and largest standard deviation of the blur (uniform), pixels.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, threshold: int = 128, sigma: Sequence[float] = (0.1, 2.0)):
        if not 0 <= threshold <= 256:
            raise ConfigError(f"ThreeAugment: threshold is {threshold}, but must be within 0..256")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ConfigError(f"ThreeAugment: sigma is {list(sigma)}, but must be two increasing positive numbers")
        self.threshold = threshold
        self.sigma = (float(sigma[0]), float(sigma[1]))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        which = rng.integers(3)
        if which == 0:
            return image_ops.grayscale(image)
        if which == 1:
            return image_ops.solarize(image, self.threshold)
        return image_ops.gaussian_blur(image, rng.uniform(*self.sigma))
