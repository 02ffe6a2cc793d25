"""Parts of image files without the rest: plain pixels mapped into memory, and the strips or tiles of a TIFF."""

import os

import numpy as np
import tifffile

from ppcore.data.images.header import ImageHeader, colours_of
from ppcore.errors import DataError, reason

_CUT = (1, 5, 8, 32946)  # compressions: none, LZW, deflate under its two numbers


def mapped_pixels(path: str, header: ImageHeader) -> np.ndarray | None:
    """The pixels of an uncompressed file as a view of it, read when looked at.

    Returns:
        [H, W, 3] in the file's byte order, or None when the pixels do not lie plainly.

    Raises:
        DataError: the file is shorter than its header says, or cannot be opened.
    """
    layout = header.layout
    if layout is None:
        return None
    height, width = header.height, header.width
    sample = np.dtype(layout.dtype).itemsize
    last = width * layout.channels * sample  # the last row need not be filled up
    needed = layout.offset + (height - 1) * layout.row_bytes + last
    try:
        if os.path.getsize(path) < needed:
            raise DataError(f"cannot decode image {path}: truncated, {os.path.getsize(path)} of {needed} bytes")
        raw = np.memmap(path, np.uint8, "r", layout.offset, (needed - layout.offset,))
    except OSError as error:
        raise DataError(f"cannot read image {path}: {reason(error)}") from None
    strides = (layout.row_bytes, layout.channels * sample, sample)
    pixels = np.ndarray((height, width, layout.channels), layout.dtype, raw, 0, strides)
    pixels = pixels[::-1] if layout.bottom_up else pixels
    if layout.channels < 3:
        return np.broadcast_to(pixels[:, :, :1], (height, width, 3))
    return pixels[:, :, 2::-1] if layout.blue_first else pixels[:, :, :3]


def tiff_window(path: str, window: tuple[int, int, int, int]) -> np.ndarray | None:
    """A window of a TIFF, decoding only the strips or tiles it meets.

    Args:
        path: the file.
        window: (top, left, height, width).

    Returns:
        [height, width, 3] as stored, or None for kinds that are decoded whole.

    Raises:
        DataError: a strip or tile is damaged or missing.
    """
    top, left, height, width = window
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            colours = colours_of(page)
            if colours is None or page.compression not in _CUT:
                return None
            rows, columns = page.chunks[:2]
            across = -(-page.imagewidth // columns)
            result = np.empty((height, width, 3), f"u{page.bitspersample // 8}")
            for down in range(top // rows, -(-(top + height) // rows)):
                for right in range(left // columns, -(-(left + width) // columns)):
                    index = down * across + right
                    file.filehandle.seek(page.dataoffsets[index])
                    data = file.filehandle.read(page.databytecounts[index])
                    part, (_, _, y, x, _), _ = page.decode(data, index)
                    y0, x0 = max(y, top), max(x, left)
                    y1 = min(y + part.shape[1], top + height)
                    x1 = min(x + part.shape[2], left + width)
                    # Grey is repeated by broadcasting; alpha is left out.
                    result[y0 - top : y1 - top, x0 - left : x1 - left] = part[
                        0, y0 - y : y1 - y, x0 - x : x1 - x, :colours
                    ]
            return result
    # The parser meets damaged bytes with every kind of exception; for the user they mean one thing.
    except Exception as error:
        raise DataError(f"cannot decode image {path}: {reason(error)}") from None
