"""A transform that is applied to some images only."""

import numpy as np

from ppcore.data.ranges import check
from ppcore.data.transforms.transform import Transform, takes_sample
from ppcore.errors import ConfigError


class RandomApply:
    """Applies a transform with a probability.

    Args:
        transform: of images.
        p: probability.

    Raises:
        ConfigError: `p` is no probability, or the transform takes whole samples.
    """

    def __init__(self, transform: Transform, p: float = 0.5):
        check(0 <= p <= 1, self, "p", p, "from 0 to 1")
        if takes_sample(transform):
            raise ConfigError(f"RandomApply: {type(transform).__name__} takes whole samples, not images")
        self.transform, self.p = transform, p

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.transform(image, rng) if rng.random() < self.p else image
