"""Centre/surround Retinex: single-scale, multi-scale, and with colour restoration."""

from collections.abc import Sequence

import numpy as np

from ppllie.classical.filters import gaussian
from ppllie.classical.method import ClassicalMethod


class Retinex(ClassicalMethod):
    """Log of each pixel over its Gaussian surround, averaged over scales.

    One scale is SSR (Jobson, Rahman and Woodell 1997, "Properties and performance of a center/surround
    retinex"), several MSR (the same, 1997, "A multiscale retinex"), `color_restoration` MSRCR of the same
    paper: each channel's result is weighted by log(alpha · its share of R + G + B), alpha = 125, which
    brings back the colour a surround takes away. The papers then scale by hand-tuned gains; we stretch
    each channel between two quantiles (Petro, Sbert and Morel 2014, IPOL), which makes their gain, offset
    and beta drop out.

    Args:
        scales: sigma of the surrounds in pixels. The papers: 80 for one, 15, 80 and 250 for three.
        color_restoration: MSRCR instead of MSR.
        clip: share of the pixels saturated at each end of every channel (IPOL: 0.01).
    """

    def __init__(self, *, scales: Sequence[float] = (15, 80, 250), color_restoration: bool = False, clip: float = 0.01):
        super().__init__()
        if not scales or min(scales) <= 0 or not 0.0 <= clip < 0.5:
            raise ValueError(f"scales {list(scales)} must be positive numbers, clip {clip} in [0, 0.5)")
        self.scales, self.color_restoration, self.clip = list(scales), color_restoration, clip

    def enhance(self, image: np.ndarray) -> np.ndarray:
        levels = image * np.float32(255) + 1  # the papers' 8-bit levels; 1 keeps black from minus infinity
        surrounds = [np.log(gaussian(levels, sigma)) for sigma in self.scales]
        ratio = np.log(levels) - sum(surrounds) / len(surrounds)
        if self.color_restoration:
            ratio = ratio * np.log(1 + 125 * levels / levels.sum(axis=2, keepdims=True))
        return np.stack([self._stretched(ratio[..., c], image[..., c]) for c in range(3)], axis=-1)

    def _stretched(self, ratio: np.ndarray, plane: np.ndarray) -> np.ndarray:
        """Quantiles `clip` and 1 - `clip` to 0 and 1; a flat plane stays as it is in the image."""
        low, high = np.quantile(ratio, [self.clip, 1 - self.clip])
        return (ratio - low) / (high - low) if high - low > 1e-6 else plane
