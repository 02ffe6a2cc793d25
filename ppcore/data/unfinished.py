"""Training batches on their way to the device: bytes, and what is left to do to them, already drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppcore.data.transforms.mixup import Mix, Mixup
from ppcore.data.transforms.normalize import Normalize
from ppcore.data.transforms.random_erasing import Patch, RandomErasing


@dataclass(frozen=True)
class Unfinished:
    """A batch whose images are bytes; `ppcore.engine.finishing.finish` does what is left, in the order of the attributes.

    Attributes:
        arrays: `image` uint8 [B, C, H, W], and what else the batch has.
        normalize: how the images become float32.
        erasures: what is written over them, one after another: places in the flattened images, int32 [n] (int64 in
            2^31 values and more), and values,
            float32 [n]. No place comes twice in one of them.
        mixup: makes `target` from `label`; None: there is none.
        mix: how the batch is mixed; None: not at all.
    """

    arrays: dict[str, np.ndarray]
    normalize: Normalize
    erasures: list[tuple[np.ndarray, np.ndarray]]
    mixup: Mixup | None
    mix: Mix | None


def erasures(
    shape: tuple[int, int, int, int], transforms: Sequence[RandomErasing], seeds: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draws what random erasing writes into a batch.

    Args:
        shape: of the images, [B, C, H, W].
        transforms: the erasings, in order.
        seeds: of each image's generator.

    Returns:
        The k-th patches of all images, for every k: see `Unfinished.erasures`.
    """
    rounds: list[list[tuple[int, Patch]]] = []
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng(int(seed))
        patches = [patch for transform in transforms for patch in transform.draw(*shape[1:], rng)]
        rounds += [[] for _ in range(len(patches) - len(rounds))]
        for patch, others in zip(patches, rounds, strict=False):
            others.append((number, patch))
    return [_flat(shape, patches) for patches in rounds]


def _flat(shape: tuple[int, int, int, int], patches: list[tuple[int, Patch]]) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of patches, each of another image."""
    _, channels, rows, columns = shape
    places, values = [], []
    kind = np.int32 if math.prod(shape) < 2**31 else np.int64
    for number, (top, left, height, width, content) in patches:
        row = np.arange(number * channels * rows, (number + 1) * channels * rows, rows)[:, None] + np.arange(height)
        first = (row + top) * columns + left  # [C, height]
        places.append((first[..., None] + np.arange(width)).astype(kind).ravel())
        values.append(np.broadcast_to(content, (channels, height, width)).ravel())
    return np.concatenate(places), np.concatenate(values)
