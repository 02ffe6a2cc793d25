"""A photograph in a file, of which windows are read without keeping the rest.

For pairs of 4K photographs, of which a training step sees a crop each. The pixels are those stored:
EXIF orientation is not applied, so a pair must be stored the same way up.
"""

import os

import numpy as np

from ppcore.data.images.decode import read_image
from ppcore.data.images.header import ImageHeader, read_header
from ppcore.data.images.orientation import stored
from ppcore.data.images.pixel_cache import cached_pixels
from ppcore.data.images.samples16 import read_rgb16
from ppcore.data.images.windows import mapped_pixels, tiff_window
from ppcore.errors import ConfigError, DataError, UnreadableImage

Window = tuple[int, int, int, int]


class ImageFile:
    """An image file: its size at once, its pixels when asked for.

    Uncompressed BMP, PPM and TIFF are mapped into memory and TIFF that is deflated or LZW is decoded in the
    strips or tiles that a window meets, so that a window costs its own size. Other formats (JPEG, PNG, …) cannot be entered
    in the middle: they are decoded whole and freed again, unless `cache` keeps them decoded.

    Args:
        path: the file.
        cache: a folder for decoded pixels, one `.npy` a file, which are then mapped; None decodes every time.

    Attributes:
        path: as given.
        shape: (H, W), from the file's header.
        bits: 8 or 16, of what `read` returns.

    Raises:
        DataError: the file is missing or is no image.
    """

    def __init__(self, path: str | os.PathLike, cache: str | os.PathLike | None = None):
        self.path = os.fspath(path)
        self.cache = None if cache is None else os.fspath(cache)
        self._header: ImageHeader = read_header(self.path)

    @property
    def shape(self) -> tuple[int, int]:
        return self._header.height, self._header.width

    @property
    def bits(self) -> int:
        return self._header.bits

    def read(self, window: Window | None = None) -> np.ndarray:
        """Reads pixels.

        Args:
            window: (top, left, height, width), inside the image; None reads all of it.

        Returns:
            [H, W, 3] RGB, an array of its own, uint8 or uint16 as `bits` says. Grey is repeated, alpha left out.

        Raises:
            ConfigError: the window leaves the image.
            UnreadableImage: the file is damaged, truncated, or of a kind that is not read.
        """
        window = self._inside(window)
        try:
            pixels = self._pixels(window)
        except DataError as error:
            raise UnreadableImage(str(error)) from None
        return np.array(pixels, f"u{self.bits // 8}", order="C")

    def _pixels(self, window: Window) -> np.ndarray:
        mapped = mapped_pixels(self.path, self._header)
        if mapped is None and self._header.format == "TIFF" and window != (0, 0, *self.shape):
            part = tiff_window(self.path, window)
            if part is not None:
                return part
        if mapped is None:
            mapped = self._whole() if self.cache is None else cached_pixels(self.path, self.cache, self._whole)
        top, left, height, width = window
        return mapped[top : top + height, left : left + width]

    def _whole(self) -> np.ndarray:
        """The decoded file."""
        if self.bits == 16:
            pixels = read_rgb16(self.path)
        else:
            pixels = read_image(self.path)
            if self._header.format == "TIFF":  # the one format that Pillow turns upright by itself
                pixels = stored(pixels, self._header.orientation)
        if pixels.shape[:2] != self.shape:
            raise DataError(f"cannot decode image {self.path}: its header says {self.shape}, it has {pixels.shape[:2]}")
        return pixels

    def _inside(self, window: Window | None) -> Window:
        height, width = self.shape
        if window is None:
            return 0, 0, height, width
        top, left, rows, columns = window
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ConfigError(f"window {tuple(window)} is not inside {self.path} of {height}x{width} pixels")
        return top, left, rows, columns


def pixels_of(source: "np.ndarray | ImageFile", window: Window | None = None) -> np.ndarray:
    """The pixels, or those of a window (top, left, height, width), of an array or of anything with `read`."""
    if not isinstance(source, np.ndarray):
        return source.read(window)
    if window is None:
        return source
    top, left, height, width = window
    return source[top : top + height, left : left + width]
