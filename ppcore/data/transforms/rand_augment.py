"""RandAugment as DeiT trains with it, on uint8 [H, W, C] images.

Sources: Cubuk et al. 2020 (RandAugment); DeiT section 6 and Table 9 (`rand-m9-mstd0.5-inc1`).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ppcore.data.ranges import check, check_share
from ppcore.data.transforms.random_operations import INCREASING, NOT_INCREASING, OPERATIONS, RandomOperations


class RandAugment(RandomOperations):
    """Applies `num_ops` random operations one after another.

    Each is drawn uniformly, with replacement, from the 15 of `operations`, and applied with
    probability `prob` at a magnitude drawn from N(magnitude, magnitude_std) and clipped to 0..10.
    Signs (of angles, shears, shifts and of the change of an increasing enhancement) are random.

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

    operations = OPERATIONS

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
        super().__init__(INCREASING if increasing else NOT_INCREASING, magnitude_std, fill, interpolation)
        check(0 <= magnitude <= 10, self, "magnitude", magnitude, "within 0..10")
        check(num_ops >= 1, self, "num_ops", num_ops, "at least 1")
        check_share(self, prob=prob)
        self.magnitude, self.num_ops, self.prob = magnitude, num_ops, prob

    def choose(self, rng: np.random.Generator) -> list[tuple[str, float, float]]:
        which = rng.integers(len(OPERATIONS), size=self.num_ops)
        return [(OPERATIONS[i], self.prob, self.magnitude) for i in which]
