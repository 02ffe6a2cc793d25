"""Evaluation geometry: torchvision's resize and centre crop, to the pixel.

A suite that rounds where torchvision truncates sees other pixels for most image sizes and reports
another accuracy for the same weights.
"""

from collections.abc import Sequence

import numpy as np

from ppcore.data.ranges import height_and_width
from ppcore.data.transforms.resize_image import Backend, Interpolation, check_resize, resize_image
from ppcore.errors import ConfigError


class Resize:
    """Resizes to a shorter side, or to a fixed size.

    Papers' protocols: DeiT and torchvision models `size: int(input / 0.875)`, bicubic, then
    `CenterCrop`; big_vision `size: 256`, bilinear; vit_jax's evaluation `size: [S, S]` (the
    aspect ratio is not kept), bilinear without antialiasing (`backend: cv2, antialias: false`).

    Args:
        size: the shorter side's length (the other becomes `int(size * long / short)`), or
            [height, width].
        interpolation: the kernel.
        backend: `pil` gives torchvision's values.
        antialias: `false` needs `backend: cv2`; see `resize_image`.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: Interpolation = "bicubic",
        backend: Backend = "pil",
        antialias: bool = True,
    ):
        check_resize(interpolation, backend)
        if backend == "pil" and not antialias:
            raise ConfigError("Resize: Pillow always antialiases: antialias: false needs backend: cv2")
        height_and_width(self, size)
        self.size = size
        self.how = interpolation, backend, antialias

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        height, width = resized_shape(image.shape[0], image.shape[1], self.size)
        return resize_image(image, height, width, *self.how)


class CenterCrop:
    """Cuts the middle out; a smaller image is padded with black first, as torchvision does.

    Args:
        size: side length or [height, width].

    Raises:
        ConfigError: `size` is not positive.
    """

    def __init__(self, size: int | Sequence[int]):
        self.height, self.width = height_and_width(self, size)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        rows, columns = image.shape[:2]
        if rows < self.height or columns < self.width:
            # Odd remainders go below and to the right.
            missing = [max(self.height - rows, 0), max(self.width - columns, 0)]
            image = np.pad(image, [(n // 2, (n + 1) // 2) for n in missing] + [(0, 0)])
            rows, columns = image.shape[:2]
        top = round((rows - self.height) / 2)  # Python rounds .5 to even; so does torchvision
        left = round((columns - self.width) / 2)
        return image[top : top + self.height, left : left + self.width]


def resized_shape(height: int, width: int, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) that `Resize(size)` gives an image; torchvision's rule."""
    if not isinstance(size, int):
        if len(size) == 2:
            return tuple(size)
        size = size[0]
    short, long = sorted((height, width))
    other = int(size * long / short)
    return (size, other) if height <= width else (other, size)
