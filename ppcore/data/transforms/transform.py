"""What a transform is, and how a sample goes through several."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from ppcore.errors import ConfigError


class Transform(Protocol):
    """One step between a file's pixels and a network's input. A class need not derive from this one.

    Attributes:
        on_sample: whether it takes and returns the whole sample, a dict, instead of the sample's `image`.
    """

    on_sample: bool = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Maps uint8 [H, W, C], C 1 or 3 (float32 [C, H, W] after Normalize); `rng` is the sample's own."""
        ...


def takes_sample(transform: Callable) -> bool:
    """A transform's `on_sample`; plain functions have none."""
    return getattr(transform, "on_sample", False)


def apply_all(transforms: Iterable[Callable], sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Takes a sample through transforms in order.

    Raises:
        ConfigError: a transform takes an image, and the sample has none.
    """
    for transform in transforms:
        if takes_sample(transform):
            sample = transform(sample, rng)
        elif "image" in sample:
            sample["image"] = transform(sample["image"], rng)
        else:
            name = getattr(transform, "__name__", type(transform).__name__)  # a function's own
            raise ConfigError(f"{name}: the samples have no image here, only {', '.join(sample)}: put it before Views")
    return sample
