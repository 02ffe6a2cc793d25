"""Transforms of a low-light image and its reference together: the same place, the same turn.

They take and return the sample. Its `image` and `target` are uint8 or uint16 [H, W, 3] RGB arrays, or handles
with `shape` and `read(window)` such as `ppcore.data.ImageFile`; a crop that comes first reads its window alone.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ppcore.data.images.image_file import pixels_of
from ppcore.data.transforms.geometry import resized_shape
from ppcore.data.transforms.resize_image import Interpolation, check_resize, height_and_width, resize_image
from ppcore.errors import ConfigError, DataError

Sample = dict[str, Any]
PAIR = ("image", "target")


class _PairedCrop:
    """A window of both; subclasses say where."""

    on_sample = True

    def __init__(self, size: int | Sequence[int], pad: bool):
        self.height, self.width = height_and_width(size, type(self).__name__)
        self.pad = pad

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        rows, columns = pair_size(sample, type(self).__name__)
        if not self.pad and (rows < self.height or columns < self.width):
            raise DataError(
                f"{type(self).__name__}: {sample.get('path')} of {rows}x{columns} is smaller than the crop of "
                f"{self.height}x{self.width}: take a smaller size, or set pad: true to mirror its edges"
            )
        height, width = min(self.height, rows), min(self.width, columns)
        window = (*self._place(rows - height, columns - width, rng), height, width)
        return {**sample, **{name: self._padded(pixels_of(sample[name], window)) for name in PAIR}}

    def _place(self, down: int, right: int, rng: np.random.Generator) -> tuple[int, int]:
        """(top, left), each from 0 to the room there is."""
        raise TypeError(f"{type(self).__name__} must define _place()")

    def _padded(self, image: np.ndarray) -> np.ndarray:
        missing = self.height - image.shape[0], self.width - image.shape[1]
        return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "reflect") if any(missing) else image


class PairedRandomCrop(_PairedCrop):
    """The same random window of both images.

    Args:
        size: side length or [height, width], pixels.
        pad: mirror the lower and right edges of an image that is smaller, instead of refusing it.

    Raises:
        ConfigError: `size` is not positive; when called: the samples are no pairs.
        DataError: when called: an image is smaller, or the two differ in size.
    """

    def __init__(self, *, size: int | Sequence[int], pad: bool = False):
        super().__init__(size, pad)

    def _place(self, down: int, right: int, rng: np.random.Generator) -> tuple[int, int]:
        return int(rng.integers(0, down + 1)), int(rng.integers(0, right + 1))


class PairedCenterCrop(_PairedCrop):
    """The middle of both images; arguments and errors as of `PairedRandomCrop`."""

    def __init__(self, *, size: int | Sequence[int], pad: bool = False):
        super().__init__(size, pad)

    def _place(self, down: int, right: int, rng: np.random.Generator) -> tuple[int, int]:
        return down // 2, right // 2


class PairedFlipRotate:
    """Mirrors and turns both images alike, by whole quarter turns: no pixel is made up or lost.

    (A rotation by interpolation inside the frame, as in some published training codes, leaves black corners.)

    Args:
        hflip: probability of mirroring left and right.
        vflip: probability of mirroring top and bottom.
        rot90: turn by a random number of quarter turns: 0 to 3 for square images, 0 or 2 for others,
            whose shape would change.

    Raises:
        ConfigError: a probability is not within 0..1; when called: the samples are no pairs.
        DataError: when called: the two images differ in size.
    """

    on_sample = True

    def __init__(self, *, hflip: float = 0.5, vflip: float = 0.0, rot90: bool = True):
        for name, p in (("hflip", hflip), ("vflip", vflip)):
            if not 0 <= p <= 1:
                raise ConfigError(f"PairedFlipRotate: {name} is {p}, but must be within 0..1")
        self.hflip = hflip
        self.vflip = vflip
        self.rot90 = rot90

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        rows, columns = pair_size(sample, "PairedFlipRotate")
        down = -1 if rng.random() < self.vflip else 1
        right = -1 if rng.random() < self.hflip else 1
        turns = int(rng.integers(4)) if self.rot90 else 0
        if rows != columns:
            turns = turns // 2 * 2
        turned = {name: np.rot90(pixels_of(sample[name])[::down, ::right], turns) for name in PAIR}
        return {**sample, **turned}


class PairedChannelShuffle:
    """Puts the three colours of both images into the same random order, so that no colour is learned by heart.

    Raises:
        ConfigError: when called: the samples are no pairs.
        DataError: when called: the two images differ in size.
    """

    on_sample = True

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        pair_size(sample, "PairedChannelShuffle")
        order = rng.permutation(3)
        return {**sample, **{name: pixels_of(sample[name])[..., order] for name in PAIR}}


class PairedResize:
    """Resizes both with OpenCV, averaging where it shrinks. Shrinking a dark photograph also averages its noise.

    Args:
        size: the shorter side's length, or [height, width].
        interpolation: the kernel.

    Raises:
        ConfigError: an argument is out of range; when called: the samples are no pairs.
        DataError: when called: the two images differ in size.
    """

    on_sample = True

    def __init__(self, *, size: int | Sequence[int], interpolation: Interpolation = "bicubic"):
        check_resize(interpolation, "cv2")
        height_and_width(size, "PairedResize")
        self.size = size if isinstance(size, int) else tuple(size)
        self.interpolation = interpolation

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        height, width = resized_shape(*pair_size(sample, "PairedResize"), self.size)
        resized = {
            name: resize_image(np.ascontiguousarray(pixels_of(sample[name])), height, width, self.interpolation, "cv2")
            for name in PAIR
        }
        return {**sample, **resized}


class PairToFloat:
    """Both to float32 [3, H, W] within 0..1: uint8 over 255, uint16 over 65535. Comes last.

    Raises:
        ConfigError: when called: the samples are no pairs, or not of these types.
        DataError: when called: the two images differ in size.
    """

    on_sample = True

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        pair_size(sample, "PairToFloat")
        return {**sample, **{name: to_float(pixels_of(sample[name])) for name in PAIR}}


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
        DataError: the two differ.
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
    return low
