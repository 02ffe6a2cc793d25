"""A photograph in memory, and what a file format must be able to do."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ppcore.data.images.orientation import stored

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph and what its file says beside the pixels.

    The pixels are turned upright for whoever looks at them, and turned back when written: the file keeps its size and
    its orientation tag, so every viewer that showed the one upright shows the other so.

    Attributes:
        pixels: uint8 or uint16 [H, W, 3] (RGB) or [H, W, 1] (grey), upright.
        alpha: the same type [H, W], upright, or None.
        format: how it is written, a key of `ppcore.photo.photo_io.FORMATS`.
        orientation: EXIF orientation 1 to 8 of the stored pixels.
        metadata: what the new file is given beside the pixels; its kind depends on the format.
        notes: what cannot be kept as it was, for the user.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    orientation: int = 1
    metadata: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def bits(self) -> int:
        """8 or 16."""
        return self.pixels.dtype.itemsize * 8

    def rgb(self) -> np.ndarray:
        """The pixels as [H, W, 3]; grey is shown three times."""
        return np.broadcast_to(self.pixels, (*self.pixels.shape[:2], 3))

    def with_rgb(self, rgb: np.ndarray) -> "Photograph":
        """The same photograph with other colours [H, W, 3]; of a grey one, their luma (Rec. 601)."""
        if self.pixels.shape[2] == 1:
            rgb = np.rint(rgb @ _LUMA).astype(rgb.dtype)[:, :, None]
        return replace(self, pixels=rgb)

    def samples(self) -> np.ndarray:
        """What a file stores: uint8 or uint16 [H, W, 1 to 4], turned back, colours before alpha."""
        samples = self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])
        return np.ascontiguousarray(stored(samples, self.orientation))


class Format(NamedTuple):
    """A file format: reading, writing and metadata, in one file each.

    Attributes:
        name: Pillow's.
        suffixes: of its files, the usual one first.
        read: (whole file, its name for errors) -> photograph.
        encode: (photograph, quality of lossy formats from 1 to 100) -> whole file.
        longest: pixels that a side can have.
        resized: (metadata, height, width) -> the metadata of a photograph whose stored pixels have this size.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[bytes, str], Photograph]
    encode: Callable[[Photograph, int], bytes]
    longest: int = 2**31 - 1
    resized: Callable[[Any, int, int], Any] = lambda metadata, height, width: metadata
