"""Maps and images as the small pictures of a figure, uint8 [H, W, 3], and such pictures side by side with what is written below."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ppcore.photo.heat import unit_range

# How a normalised image [C, H, W] is drawn, as uint8 [H, W, 3].
Show = Callable[[np.ndarray], np.ndarray]
_MARGIN, _LINE, _LINES = 8, 22, 3  # pixels; lines of a caption


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Values in 0..1 (clipped) as uint8, rounded."""
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def rgb(image: np.ndarray) -> np.ndarray:
    """An image [C, H, W] in 0..1, C 1 or 3, as RGB [H, W, 3]."""
    return np.ascontiguousarray(to_bytes(np.broadcast_to(image, (3, *image.shape[1:]))).transpose(1, 2, 0))


def grey(values: np.ndarray) -> np.ndarray:
    """A map [H, W] stretched to its whole range, as RGB."""
    return np.repeat(to_bytes(unit_range(values))[..., None], 3, axis=2)


def stretched(image: np.ndarray) -> np.ndarray:
    """A normalised image [C, H, W], C 1 or 3, stretched to its whole range, as RGB [H, W, 3]."""
    return rgb(unit_range(image))


def stretched_like(image: np.ndarray) -> Show:
    """Draws others as `stretched` draws this image [C, H, W], so that they can be compared; what is beyond its range is clipped."""
    low, high = float(image.min()), float(image.max())
    return lambda other: rgb((other - low) / (high - low)) if high > low else stretched(image)


def enlarged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (width, height), pixels kept visible when it grows."""
    grows = size[0] > image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if grows else cv2.INTER_AREA)


def at_least(image: np.ndarray, side: int) -> np.ndarray:
    """Every pixel as many times as brings the shorter side to `side` or beyond; a large image as it is."""
    times = -(-side // min(image.shape[:2]))
    return np.repeat(np.repeat(image, times, axis=0), times, axis=1)


def side_by_side(pictures: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
    """Pictures uint8 [H, W, 3] on white in a row, each with its caption below, cut to the height of the lowest."""
    least = min(image.shape[0] for image, _ in pictures)
    return np.hstack([_captioned(image[:least], caption) for image, caption in pictures])


def _captioned(image: np.ndarray, caption: str) -> np.ndarray:
    """The picture on white with its caption in as many lines as it needs."""
    below = np.full((_LINES * _LINE, image.shape[1], 3), 255, np.uint8)
    lines, letters = [""], max(image.shape[1] // 8, 8)
    for word in caption.encode("ascii", "replace").decode().split():  # OpenCV's letters are ASCII
        lines = [*lines, word] if len(lines[-1]) + len(word) >= letters else [*lines[:-1], f"{lines[-1]} {word}"]
    for number, line in enumerate(lines[:_LINES]):
        cv2.putText(
            below, line.strip(), (2, 16 + _LINE * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA
        )
    stacked = np.vstack([image, below])
    return np.pad(stacked, ((_MARGIN, 0), (_MARGIN, 0), (0, 0)), constant_values=255)
