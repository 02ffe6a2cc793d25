"""AutoAugment's ImageNet policy, on uint8 [H, W, C] images: DeiT's alternative to RandAugment (Table 8).

Source: Cubuk et al. 2019 (arXiv 1805.09501), Table 9 of its appendix.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ppcore.data.transforms.random_operations import NOT_INCREASING, RandomOperations

SubPolicy = tuple[tuple[str, float, float], tuple[str, float, float]]

# Sub-policies 0 to 24: operation, probability, magnitude of 10. AutoContrast, Equalize and Invert have no
# use for theirs. The last five stand further up, too: their 20 different rows are not equally likely.
POLICY: tuple[SubPolicy, ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 2)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 8), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
    (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
)

# The paper's range of Posterize, 4..8 bits; RandAugment without `increasing` keeps 0..4.
_LEVELS = {**NOT_INCREASING, "Posterize": lambda level, sign: 4 + int(level * 4)}


class AutoAugment(RandomOperations):
    """Applies one of the 25 sub-policies of `policy`, drawn uniformly for each image.

    Its two operations are applied one after the other, each with its own probability. Levels and signs
    are those of timm's `original` policy, which stay within the paper's ranges (its Table 6): for level
    m/10, Posterize keeps 4 + int(4m/10) bits and Solarize inverts from int(256m/10) on, both weaker as m
    grows; Color, Contrast and Sharpness blend by 0.1 + 1.8m/10, without a sign; Rotate turns by 3m
    degrees and ShearX shears by 0.03m, either way equally often.

    Args:
        magnitude_std: standard deviation of normal noise on the magnitudes, which stay within 0..10. The
            policy has none; 0.5 is timm's `original-mstd0.5`.
        fill: colour of what geometric operations bring in from outside, 0..255, one number or one a
            channel. DeiT: round(255 * ImageNet's mean).
        interpolation: of the geometric operations: DeiT's training passes its `bicubic` on to them;
            `random` draws bilinear or bicubic each time.

    Raises:
        ConfigError: an argument is out of range.
    """

    policy = POLICY

    def __init__(
        self,
        magnitude_std: float = 0.0,
        fill: Sequence[int] = (124, 116, 104),
        interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic",
    ):
        super().__init__(_LEVELS, magnitude_std, fill, interpolation)

    def choose(self, rng: np.random.Generator) -> SubPolicy:
        return POLICY[rng.integers(len(POLICY))]
