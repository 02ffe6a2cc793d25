"""Gaussian blur of a random strength."""

from collections.abc import Sequence

import numpy as np

from ppcore.data.ranges import increasing
from ppcore.data.transforms import image_ops


class GaussianBlur:
    """Blurs as Pillow's GaussianBlur does, by a standard deviation drawn uniformly (BYOL, DINO).

    Args:
        sigma: the smallest and the largest, pixels.

    Raises:
        ConfigError: they are not two increasing numbers above 0.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0)):
        self.sigma = increasing(self, "sigma", sigma)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image_ops.gaussian_blur(image, rng.uniform(*self.sigma))
