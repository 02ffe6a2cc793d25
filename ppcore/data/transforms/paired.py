"""Transforms of a low-light image and its reference together: the same place, the same turn.

They take and return the sample. Its `image` and `target` are uint8 or uint16 [H, W, 3] RGB arrays, or handles
with `shape` and `read(window)` such as `ppcore.data.ImageFile`; a crop that comes first reads its window alone. A
`label_map`, integers [H, W], goes where its pixels go.

All raise, when called, ConfigError if the samples are no pairs, and DataError if the images differ in size.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ppcore.data.images.image_file import ImageFile, pixels_of
from ppcore.data.ranges import check_share, height_and_width
from ppcore.data.transforms.geometry import resized_shape
from ppcore.data.transforms.resize_image import Interpolation, check_resize, resize_image
from ppcore.errors import ConfigError, DataError

Sample = dict[str, Any]
Change = Callable[[np.ndarray | ImageFile], np.ndarray]
PAIR = ("image", "target")
LABEL_MAP = "label_map"


class _OfPair(ABC):
    """Base: what `change` draws once is done to both images, and to the label map by what moves pixels."""

    on_sample = True
    moves_pixels = True

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        change = self.change(*pair_size(sample, type(self).__name__), rng, sample.get("path"))
        names = (*PAIR, LABEL_MAP) if self.moves_pixels and LABEL_MAP in sample else PAIR
        return {**sample, **{name: change(sample[name]) for name in names}}

    @abstractmethod
    def change(self, rows: int, columns: int, rng: np.random.Generator | None, path: str | None) -> Change:
        """What is done to each image of a pair of `rows` x `columns` pixels; `path` is for messages."""


class PairedRandomCrop(_OfPair):
    """The same random window of both images.

    Args:
        size: side length or [height, width], pixels.
        pad: mirror the lower and right edges of an image that is smaller, instead of refusing it.

    Raises:
        ConfigError: `size` is not positive.
        DataError: when called: an image is smaller.
    """

    def __init__(self, *, size: int | Sequence[int], pad: bool = False):
        self.height, self.width = height_and_width(self, size)
        self.pad = pad

    def place(self, down: int, right: int, rng: np.random.Generator) -> tuple[int, int]:
        """(top, left), each from 0 to the room there is."""
        return int(rng.integers(0, down + 1)), int(rng.integers(0, right + 1))

    def change(self, rows: int, columns: int, rng: np.random.Generator | None, path: str | None) -> Change:
        if not self.pad and (rows < self.height or columns < self.width):
            raise DataError(
                f"{type(self).__name__}: {path} of {rows}x{columns} is smaller than the crop of "
                f"{self.height}x{self.width}: take a smaller size, or set pad: true to mirror its edges"
            )
        height, width = min(self.height, rows), min(self.width, columns)
        window = (*self.place(rows - height, columns - width, rng), height, width)
        missing = ((0, self.height - height), (0, self.width - width), (0, 0))
        if (height, width) == (self.height, self.width):
            return lambda image: pixels_of(image, window)

        def mirrored(image: np.ndarray | ImageFile) -> np.ndarray:
            pixels = pixels_of(image, window)
            return np.pad(pixels, missing[: pixels.ndim], "reflect")

        return mirrored


class PairedCenterCrop(PairedRandomCrop):
    """The middle of both images; arguments and errors as of `PairedRandomCrop`."""

    def place(self, down: int, right: int, rng: np.random.Generator) -> tuple[int, int]:
        return down // 2, right // 2


class PairedFlipRotate(_OfPair):
    """Mirrors and turns both images alike, by whole quarter turns: no pixel is made up or lost.

    (A rotation by interpolation inside the frame, as in some published training codes, leaves black corners.)

    Args:
        hflip: probability of mirroring left and right.
        vflip: probability of mirroring top and bottom.
        rot90: turn by a random number of quarter turns: 0 to 3 for square images, 0 or 2 for others,
            whose shape would change.

    Raises:
        ConfigError: a probability is not within 0..1.
    """

    def __init__(self, *, hflip: float = 0.5, vflip: float = 0.0, rot90: bool = True):
        check_share(self, hflip=hflip, vflip=vflip)
        self.hflip, self.vflip, self.rot90 = hflip, vflip, rot90

    def change(self, rows: int, columns: int, rng: np.random.Generator, path: str | None) -> Change:
        down = -1 if rng.random() < self.vflip else 1
        right = -1 if rng.random() < self.hflip else 1
        turns = int(rng.integers(4)) if self.rot90 else 0
        if rows != columns:
            turns = turns // 2 * 2
        return lambda image: np.rot90(pixels_of(image)[::down, ::right], turns)


class PairedChannelShuffle(_OfPair):
    """Puts the three colours of both images into the same random order, so that no colour is learned by heart."""

    moves_pixels = False

    def change(self, rows: int, columns: int, rng: np.random.Generator, path: str | None) -> Change:
        order = rng.permutation(3)
        return lambda image: pixels_of(image)[..., order]


class PairedResize(_OfPair):
    """Resizes both with OpenCV, averaging where it shrinks, and a label map to the nearest label. Shrinking a dark
    photograph also averages its noise.

    Args:
        size: the shorter side's length, or [height, width].
        interpolation: the kernel.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, *, size: int | Sequence[int], interpolation: Interpolation = "bicubic"):
        check_resize(interpolation, "cv2")
        height_and_width(self, size)
        self.size, self.interpolation = size, interpolation

    def change(self, rows: int, columns: int, rng: np.random.Generator | None, path: str | None) -> Change:
        height, width = resized_shape(rows, columns, self.size)

        def resized(image: np.ndarray | ImageFile) -> np.ndarray:
            pixels = np.ascontiguousarray(pixels_of(image))
            if pixels.ndim == 2:
                return _nearest(pixels, height, width)
            return resize_image(pixels, height, width, self.interpolation, "cv2")

        return resized


class PairToFloat(_OfPair):
    """Both to float32 [3, H, W] within 0..1: uint8 over 255, uint16 over 65535. Comes last.

    Raises:
        ConfigError: when called: the images are not of these types.
    """

    moves_pixels = False

    def change(self, rows: int, columns: int, rng: np.random.Generator | None, path: str | None) -> Change:
        return lambda image: to_float(pixels_of(image))


def _nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A label map [H, W] at another size: of each new pixel the label at its centre."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * size / wanted).astype(np.int64)
        for wanted, size in zip((height, width), labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 [H, W, 3] to float32 [3, H, W] within 0..1.

    Raises:
        ConfigError: the image is of another type.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ConfigError(f"PairToFloat: got {image.dtype} pixels, but takes uint8 or uint16: apply it once, and last")
    planes = cv2.split(np.ascontiguousarray(image))  # several times faster than numpy's strided copy
    result = np.empty((3, *image.shape[:2]), np.float32)
    for plane, target in zip(planes, result, strict=True):
        np.divide(plane, np.float32(np.iinfo(image.dtype).max), out=target, dtype=np.float32)
    return result


def pair_size(sample: Sample, what: str) -> tuple[int, int]:
    """(H, W) of both images of a sample.

    Raises:
        ConfigError: the sample has no `target`.
        DataError: the two differ, or the label map does.
    """
    if "target" not in sample:
        raise ConfigError(
            f"{what}: the samples have no target: use it with a dataset of pairs (ppcore.data.PairedFolder)"
        )
    low, reference = (tuple(sample[name].shape[:2]) for name in PAIR)
    if low != reference:
        raise DataError(
            f"{what}: {sample.get('path')} is {low[0]}x{low[1]}, but its reference is {reference[0]}x{reference[1]}"
        )
    if LABEL_MAP in sample and tuple(sample[LABEL_MAP].shape) != low:
        raise DataError(
            f"{what}: {sample.get('path')} is {low[0]}x{low[1]}, but its label map is {list(sample[LABEL_MAP].shape)}"
        )
    return low
