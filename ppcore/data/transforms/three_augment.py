"""DeiT III's 3-Augment (its section 3.2), on uint8 [H, W, C] images."""

from collections.abc import Sequence

import numpy as np

from ppcore.data.ranges import check, increasing
from ppcore.data.transforms import image_ops


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
        check(0 <= threshold <= 256, self, "threshold", threshold, "within 0..256")
        self.threshold = threshold
        self.sigma = increasing(self, "sigma", sigma)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        which = rng.integers(3)
        if which == 0:
            return image_ops.grayscale(image)
        if which == 1:
            return image_ops.solarize(image, self.threshold)
        return image_ops.gaussian_blur(image, rng.uniform(*self.sigma))
