"""Random crops and flips for training."""

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from ppcore.data.ranges import check_share, height_and_width, increasing
from ppcore.data.transforms.resize_image import Backend, Interpolation, check_resize, resize_image
from ppcore.errors import ConfigError, DataError


class RandomResizedCrop:
    """Cuts out a box of random area and aspect ratio and resizes it ("Inception crop").

    torchvision's sampling: the area fraction is uniform in `scale`, the ratio width/height
    log-uniform in `ratio`; ten tries, then the largest central box whose ratio is allowed.

    Args:
        size: side length of the result or [height, width].
        scale: smallest and largest area of the box over the image's. ViT: [0.05, 1]; DeiT: [0.08, 1].
        ratio: smallest and largest width/height.
        interpolation: the kernel.
        backend: `cv2` is fast; `pil` gives torchvision's values.
        redraw: whether a box that does not fit is drawn again; otherwise its sides are cut to the image's.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bicubic",
        backend: Backend = "cv2",
        redraw: bool = True,
    ):
        check_resize(interpolation, backend)
        self.height, self.width = height_and_width(self, size)
        self.scale = increasing(self, "scale", scale)
        self.ratio = increasing(self, "ratio", ratio)
        self.interpolation = interpolation
        self.backend = backend
        self.redraw = redraw

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        top, left, height, width = self.box(image.shape[0], image.shape[1], rng)
        crop = image[top : top + height, left : left + width]
        return resize_image(crop, self.height, self.width, self.interpolation, self.backend)

    def box(self, rows: int, columns: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draws (top, left, height, width) of the box in an image of `rows` x `columns` pixels."""
        log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = rows * columns * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*log_ratio))
            width = round(math.sqrt(area * ratio))
            height = round(math.sqrt(area / ratio))
            if not self.redraw:
                width, height = min(max(width, 1), columns), min(max(height, 1), rows)
            if 0 < width <= columns and 0 < height <= rows:
                top = int(rng.integers(0, rows - height + 1))
                left = int(rng.integers(0, columns - width + 1))
                return top, left, height, width
        height, width = rows, columns
        if columns / rows < self.ratio[0]:
            height = round(columns / self.ratio[0])
        elif columns / rows > self.ratio[1]:
            width = round(rows * self.ratio[1])
        return (rows - height) // 2, (columns - width) // 2, height, width


class RandomCrop:
    """Pads all four sides, then cuts out a box at a random place (the CIFAR augmentation).

    Args:
        size: side length of the box or [height, width].
        padding: pixels added on each side.
        padding_mode: `constant` (black) or `reflect`.

    Raises:
        ConfigError: an argument is out of range.
        DataError: when called: the padded image is smaller than the box.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int = 0,
        padding_mode: Literal["constant", "reflect"] = "constant",
    ):
        self.height, self.width = height_and_width(self, size)
        if padding < 0 or padding_mode not in ("constant", "reflect"):
            raise ConfigError(f"RandomCrop: padding {padding} ({padding_mode!r}) is not possible")
        self.padding = padding
        self.padding_mode = padding_mode

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.padding:
            sides = (self.padding, self.padding)
            image = np.pad(image, (sides, sides, (0, 0)), mode=self.padding_mode)
        rows, columns = image.shape[:2]
        if rows < self.height or columns < self.width:
            raise DataError(
                f"RandomCrop: an image of {rows}x{columns} (padded) is smaller than the crop of "
                f"{self.height}x{self.width}: put a Resize before it"
            )
        top = int(rng.integers(0, rows - self.height + 1))
        left = int(rng.integers(0, columns - self.width + 1))
        return image[top : top + self.height, left : left + self.width]


class RandomHorizontalFlip:
    """Mirrors left and right with probability `p`.

    Raises:
        ConfigError: `p` is not within 0..1.
    """

    def __init__(self, p: float = 0.5):
        check_share(self, p=p)
        self.p = p

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.p:
            return image
        return cv2.flip(image, 1).reshape(image.shape)
