"""SimCLR's blur, whose kernel's size is a share of the image's, beyond whose border all is black."""

from collections.abc import Sequence

import cv2
import numpy as np

from ppcore.data.ranges import increasing


class SimCLRBlur:
    """Gaussian blur by a kernel of a tenth of the image's height, made odd; 224 pixels have 23.

    The standard deviation is drawn for each image. (The official code draws one for a whole batch and view.) Pixels outside count
    as 0, so borders darken, as in the official code.

    Args:
        sigma: the smallest and the largest standard deviation (uniform), pixels.

    Raises:
        ConfigError: they are not two increasing numbers above 0.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0)):
        self.sigma = increasing(self, "sigma", sigma)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        radius = image.shape[0] // 10 // 2
        places = np.arange(-radius, radius + 1)
        kernel = np.exp(-(places**2) / (2 * rng.uniform(*self.sigma) ** 2))
        kernel /= kernel.sum()
        blurred = cv2.sepFilter2D(image.astype(np.float32), -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
        return np.rint(np.clip(blurred, 0, 255)).astype(np.uint8).reshape(image.shape)
