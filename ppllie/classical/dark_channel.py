"""Inversion and dehazing: a dark photograph turned into its negative looks like a hazy one."""

import cv2
import numpy as np

from ppllie.classical.filters import guided_filter
from ppllie.classical.method import ClassicalMethod

_BRIGHTEST = 1e-3  # share of the haziest pixels the airlight is taken from (He et al. 2009, §4.4)


class DarkChannel(ClassicalMethod):
    """Dehazes the negative by the dark-channel prior (Dong et al. 2011 over He et al. 2009).

    The negative is R = J·t + A·(1 - t): A airlight, t transmission = 1 - omega · (least channel of R / A
    in a window). Where t is below a half, Dong et al. multiply it by 2t, which keeps bright places in
    the photograph as they are and lifts the darkest most.

    Args:
        omega: share of the haze that is removed (Dong et al.: 0.8).
        patch: side of the window in pixels (He et al.: 15).
        least: lower bound of the transmission (He et al.: 0.1); the smaller, the more noise.
        radius: of the guided filter that takes the windows' blocks out of t (He et al. 2013: 60).
        epsilon: of the guided filter (He et al. 2013: 1e-4).
    """

    def __init__(
        self, *, omega: float = 0.8, patch: int = 15, least: float = 0.1, radius: int = 60, epsilon: float = 1e-4
    ):
        super().__init__()
        if not 0.0 < omega <= 1.0 or not 0.0 < least <= 1.0 or patch < 1 or radius < 1 or not epsilon > 0.0:
            raise ValueError(
                f"omega {omega} and least {least} must be in (0, 1], patch {patch} and radius {radius} "
                f"at least 1, epsilon {epsilon} above 0"
            )
        self.omega, self.patch, self.least, self.radius, self.epsilon = omega, patch, least, radius, epsilon

    def enhance(self, image: np.ndarray) -> np.ndarray:
        negative = 1.0 - image
        airlight = self._airlight(negative)
        haze = self._dark_channel(negative / airlight)
        transmission = guided_filter(negative.mean(axis=2), 1.0 - self.omega * haze, self.radius, self.epsilon)
        transmission = transmission * np.minimum(2.0 * transmission, 1.0)
        transmission = np.clip(transmission, self.least, 1.0)[..., None]
        return 1.0 - ((negative - airlight) / transmission + airlight)

    def _dark_channel(self, image: np.ndarray) -> np.ndarray:
        """Least value of the channels over a window, [H, W]."""
        window = np.ones((self.patch, self.patch), np.uint8)
        return cv2.erode(image.min(axis=2), window, borderType=cv2.BORDER_REFLECT)

    def _airlight(self, negative: np.ndarray) -> np.ndarray:
        """Colour [3] of the brightest among the haziest pixels; never 0, which could not be divided by."""
        dark = self._dark_channel(negative).ravel()
        count = max(1, int(dark.size * _BRIGHTEST))
        haziest = negative.reshape(-1, 3)[np.argpartition(dark, -count)[-count:]]
        return np.maximum(haziest[haziest.sum(axis=1).argmax()], 1e-3)
