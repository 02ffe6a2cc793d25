"""FixMatch's strong augmentations (arXiv 2001.07685, section 2.3 and appendix): its RandAugment, and Cutout."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ppcore.data.ranges import check, check_share
from ppcore.data.transforms.random_operations import INCREASING, Levels, RandomOperations

# Arguments by the level, 0..1, which goes through the whole range of each, and a random sign.
LEVELS: Levels = {
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), lambda level, sign: 0.05 + 0.9 * level),
    "Posterize": lambda level, sign: min(4 + int(level * 5), 8),  # bits kept
    "Solarize": lambda level, sign: int(level * 256),  # threshold
    **{name: INCREASING[name] for name in ("Rotate", "ShearX", "ShearY")},  # ±30 degrees, ±0.3
    **dict.fromkeys(("TranslateXRel", "TranslateYRel"), lambda level, sign: sign * 0.3 * level),  # of the side
}
IDENTITY = "Identity"
OPERATIONS = ("AutoContrast", "Equalize", IDENTITY, *LEVELS)


class UniformRandAugment(RandomOperations):
    """RandAugment as FixMatch draws it: which operations and how strongly are both uniform, anew for each image.

    Of 14 operations, the identity among them, `num_ops` are drawn with replacement and always applied. There is no magnitude to
    choose: each operation has a range, brightness, colour, contrast and sharpness 0.05 to 0.95, rotation ±30 degrees, shears and
    shifts ±0.3, 4 to 8 bits of posterisation, any threshold of solarisation. FixMatch puts Cutout after it. The ranges are as we
    remember the authors' code; they were not checked against it.

    Args:
        num_ops: operations an image.
        fill: colour of what geometric operations bring in from outside, 0..255, one number or one a channel.
        interpolation: of the geometric operations.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        num_ops: int = 2,
        fill: Sequence[int] = (128,),
        interpolation: Literal["bicubic", "bilinear", "random"] = "bilinear",
    ):
        super().__init__(LEVELS, 0.0, fill, interpolation)
        check(num_ops >= 1, self, "num_ops", num_ops, "at least 1")
        self.num_ops = num_ops

    def choose(self, rng: np.random.Generator) -> list[tuple[str, float, float]]:
        drawn = [(OPERATIONS[i], 1.0, rng.uniform(0, 10)) for i in rng.integers(len(OPERATIONS), size=self.num_ops)]
        return [operation for operation in drawn if operation[0] != IDENTITY]


class Cutout:
    """A grey square over a random place of a uint8 image (DeVries & Taylor 2017, arXiv 1708.04552), cut where it leaves the image.

    Its centre is any pixel, all alike.

    Args:
        share: side of the square, of the image's shorter one; FixMatch: half.
        value: the grey, 0..255.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, share: float = 0.5, value: int = 128):
        check_share(self, share=share)
        check(0 <= value <= 255, self, "value", value, "within 0..255")
        self.share, self.value = share, value

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows, columns = image.shape[:2]
        side = round(self.share * min(rows, columns))
        top, left = (int(rng.integers(size)) - side // 2 for size in (rows, columns))
        image = image.copy()
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = self.value
        return image
