"""Dark photographs made from normal ones, for those who have no pairs.

The model of a short exposure, step by step:

1. sRGB values become linear light x, 0 to 1 (IEC 61966-2-1).
2. The exposure is shortened by s stops: the sensor collects `full_well * x / 2^s` electrons a pixel and colour on
   average, where `full_well` is how many a white pixel collects at the normal exposure.
3. Counting them is Poisson distributed (shot noise); reading them out adds normal noise of
   `read_noise` electrons RMS. Both are independent over pixels and colours: a real camera's demosaicing and
   its JPEG compression would smear them.
4. Electrons become linear light again (over `full_well`; nothing is amplified), cut to 0..1.
5. sRGB encoding, then the power `gamma`, at 1 none: above 1 shadows sink further, as in a contrasty picture style.
6. Rounding to 8 bits, where the darkest tones fall together.

What it does not model: white balance under lamps, vignetting, hot pixels, banding, motion blur.
"""

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError

_STRIP = 256  # rows at a time, which bounds the memory for 24-megapixel photographs


class LowLight(NamedTuple):
    """One dark exposure.

    Attributes:
        stops: how much shorter than normal, powers of two.
        full_well: electrons of a white pixel at the normal exposure.
        read_noise: electrons RMS.
        gamma: power after the sRGB encoding.
    """

    stops: float
    full_well: float
    read_noise: float
    gamma: float


def darken(image: np.ndarray, rng: np.random.Generator, low_light: LowLight) -> np.ndarray:
    """Takes a photograph again with too short an exposure.

    Args:
        image: uint8 or uint16 [H, W, 3], sRGB.
        rng: for the noise.
        low_light: the exposure.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ConfigError: the image is of another type.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ConfigError(f"darken: got {image.dtype} pixels, but takes uint8 or uint16")
    levels = np.iinfo(image.dtype).max
    electrons = srgb_to_linear(np.arange(levels + 1) / levels) * (low_light.full_well / 2.0**low_light.stops)
    result = np.empty(image.shape, np.uint8)
    for top in range(0, image.shape[0], _STRIP):
        expected = electrons[image[top : top + _STRIP]]
        counted = rng.poisson(expected) + low_light.read_noise * rng.standard_normal(expected.shape, np.float32)
        linear = np.clip(counted / low_light.full_well, 0.0, 1.0).astype(np.float32)
        encoded = linear_to_srgb(linear) ** np.float32(low_light.gamma)
        result[top : top + _STRIP] = np.rint(255 * encoded)
    return result


class Darkening(ABC):
    """Makes `image` from `target`: the sample transform around a way of darkening.

    Args:
        seed: None draws with the sample's own generator: another dark image every epoch. A number makes it depend on
            the number and the photograph's file name alone: the same dark image every time, for evaluation.

    Raises:
        ConfigError: the seed is negative; when called: the samples have no target.
    """

    on_sample = True

    def __init__(self, *, seed: int | None = None):
        if seed is not None and seed < 0:
            raise ConfigError(f"{type(self).__name__}: seed is {seed}, but must not be negative")
        self.seed = seed

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "target" not in sample:
            raise ConfigError(f"{type(self).__name__}: the samples have no target: use it with a dataset of pairs")
        target = pixels_of(sample["target"])
        if self.seed is not None:
            rng = self.rng(sample.get("path") or str(sample.get("index")))
        return {**sample, "image": self.dark(target, rng), "target": target}

    @abstractmethod
    def dark(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A dark version, uint8 [H, W, 3], of uint8 or uint16 [H, W, 3]; what it draws, it draws from `rng`."""

    def rng(self, path: str) -> np.random.Generator:
        """The generator of one photograph under a fixed `seed`; folders may be moved.

        Raises:
            ConfigError: there is no seed.
        """
        if self.seed is None:
            raise ConfigError(f"{type(self).__name__}: a fixed dark image needs a seed")
        return np.random.default_rng((self.seed, zlib.crc32(os.fsencode(os.path.basename(path)))))


class Darken(Darkening):
    """A short exposure (`darken`), drawn anew each time: stops and gamma uniformly, electrons uniformly in their logarithm.

    Args:
        stops: smallest and largest shortening of the exposure, powers of two.
        full_well: smallest and largest number of electrons of a white pixel at the normal exposure; fewer mean a
            smaller sensor or a higher ISO setting, and more noise.
        read_noise: smallest and largest, electrons RMS.
        gamma: smallest and largest.
        seed: as for `Darkening`.

    Raises:
        ConfigError: a range is not increasing or not positive; as `Darkening`.
    """

    def __init__(
        self,
        *,
        stops: Sequence[float] = (2.0, 4.0),
        full_well: Sequence[float] = (1000.0, 8000.0),
        read_noise: Sequence[float] = (1.0, 4.0),
        gamma: Sequence[float] = (1.0, 1.2),
        seed: int | None = None,
    ):
        super().__init__(seed=seed)
        self.stops = checked_range(self, stops, "stops", 0.0)
        self.full_well = checked_range(self, full_well, "full_well", 1.0)
        self.read_noise = checked_range(self, read_noise, "read_noise", 0.0)
        self.gamma = checked_range(self, gamma, "gamma", 0.1)

    def dark(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        low_light = self.draw(rng)
        return darken(image, rng, low_light)

    def draw(self, rng: np.random.Generator) -> LowLight:
        """Draws an exposure."""
        full_well = float(np.exp(rng.uniform(*np.log(self.full_well))))
        return LowLight(rng.uniform(*self.stops), full_well, rng.uniform(*self.read_noise), rng.uniform(*self.gamma))


class GammaDarken(Darkening):
    """Powers, one a colour, and shot noise: the darkening many a paper trains on (Lv et al., BMVC 2018).

    A colour's values x in [0, 1] become Poisson(peak · x^gamma) / peak, cut at 1 and rounded to 8 bits; gamma is drawn
    uniformly for each colour, so that the light has a colour, too.

    Args:
        gamma: smallest and largest power.
        peak: photons of a white pixel; None: no noise.
        seed: as for `Darkening`.

    Raises:
        ConfigError: a range is not increasing or not positive; as `Darkening`.
    """

    def __init__(self, *, gamma: Sequence[float] = (2.0, 3.5), peak: float | None = 200.0, seed: int | None = None):
        super().__init__(seed=seed)
        self.gamma = checked_range(self, gamma, "gamma", 0.1)
        if peak is not None and not 0.0 < peak < float("inf"):
            raise ConfigError(f"GammaDarken: peak is {peak}, but must be positive")
        self.peak = peak

    def dark(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        gamma = rng.uniform(*self.gamma, size=3)
        result = np.empty(image.shape, np.uint8)
        for top in range(0, image.shape[0], _STRIP):
            x = (image[top : top + _STRIP] / np.iinfo(image.dtype).max) ** gamma
            if self.peak is not None:
                x = np.minimum(rng.poisson(x * self.peak) / self.peak, 1.0)
            result[top : top + _STRIP] = np.rint(255 * x)
        return result


def srgb_to_linear(value: np.ndarray) -> np.ndarray:
    """sRGB values within 0..1 to linear light."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_to_linear`; keeps float32."""
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def checked_range(owner: object, pair: Sequence[float], what: str, least: float) -> tuple[float, float]:
    """Two increasing numbers from `least` on; raises ConfigError otherwise."""
    if len(pair) != 2 or not least <= pair[0] <= pair[1] < float("inf"):
        name = type(owner).__name__
        raise ConfigError(f"{name}: {what} is {list(pair)}, but must be two increasing numbers from {least:g} on")
    return float(pair[0]), float(pair[1])
