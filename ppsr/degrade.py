"""A photograph to what a super-resolution network is given, by a protocol: low resolution, bicubic input, reference."""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from ppcore.data.images.matlab_resize import imresize, modcrop
from ppcore.data.images.ycbcr import y_of
from ppcore.data.ranges import check, check_choice
from ppcore.errors import DataError
from ppsr.sr_protocols import Making

InputName = Literal["bicubic", "lr", "lr_rgb"]


class Degraded(NamedTuple):
    """A network's input and its reference, float32 [C, h, w] and [C, H, W], C 1 (Y) or 3 (RGB), in [0, 1] (a bicubic Y may leave it)."""

    image: np.ndarray
    target: np.ndarray


def check_making(owner: object, scale: int, making: Making, given: InputName) -> None:
    """Raises ConfigError unless a data set can make such inputs; `owner` is the data set."""
    check(scale >= 2, owner, "scale", scale, "2 or more")
    check_choice(owner, "input", given, ("bicubic", "lr", "lr_rgb"))
    colours = given != "lr_rgb" or making.shrunk == "rgb"
    check(colours, owner, "input", given, "used with a protocol that shrinks colours, such as lr_u8")


def degrade(photograph: np.ndarray, scale: int, making: Making, given: InputName = "bicubic") -> Degraded:
    """Makes them.

    Args:
        photograph: uint8 [H, W, 3], or [H, W] of a grey one, which is its own Y and has three equal colours.
        scale: a whole number.
        making: how.
        given: the input: `bicubic`, Y enlarged to the reference's size; `lr`, Y of low resolution; `lr_rgb`, the 8-bit colours
            of low resolution, and colours as the reference.

    Raises:
        DataError: the photograph is smaller than the scale.
    """
    if min(photograph.shape[:2]) < scale:
        raise DataError(f"an image of {photograph.shape[0]}x{photograph.shape[1]} cannot be shrunk by {scale}")
    reference = fitted(photograph, scale, making)
    if given == "lr_rgb":
        return Degraded(_planes(_resized(reference, 1 / scale, making)), _planes(reference))
    y = y_of(reference, making.y, y8=making.y8)
    if making.shrunk == "y":
        low = _resized(y, 1 / scale, making)
        bicubic = low if given == "lr" else _resized(low, scale, making)
    else:
        colours = _resized(reference, 1 / scale, making)
        enlarged = colours if given == "lr" or making.enlarged == "y" else _resized(colours, scale, making)
        bicubic = y_of(enlarged, making.y, y8=making.y8)
        if given == "bicubic" and making.enlarged == "y":
            bicubic = _resized(bicubic, scale, making)
    if given == "bicubic" and making.clip16:
        bicubic = bicubic.clip(16 / 255, 235 / 255)
    return Degraded(np.float32(bicubic)[None], np.float32(y)[None])


def fitted(photograph: np.ndarray, scale: int, making: Making) -> np.ndarray:
    """A photograph cropped, or resized, to a multiple of the scale."""
    if making.fit == "crop":
        return modcrop(photograph, scale)
    height, width = (length // scale * scale for length in photograph.shape[:2])
    if making.resizer == "pillow":
        return _pillow(photograph, height, width)
    return imresize(photograph, size=(height, width), border=making.border)


def smaller_copy(photograph: np.ndarray, factor: float, making: Making) -> np.ndarray:
    """A uint8 photograph shrunk to `factor` of its sides: more photographs to train on."""
    if factor == 1:
        return photograph
    if making.resizer == "pillow":
        return _pillow(photograph, *(int(length * factor) for length in photograph.shape[:2]))
    return imresize(photograph, factor, border=making.border)


def _resized(image: np.ndarray, scale: float, making: Making) -> np.ndarray:
    if making.resizer == "pillow":
        return _pillow(image, round(image.shape[0] * scale), round(image.shape[1] * scale))
    return imresize(image, scale, border=making.border)


def _pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _planes(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] or [H, W] to float32 [3, H, W] in [0, 1]."""
    colours = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
    return np.ascontiguousarray(colours.transpose(2, 0, 1)) / np.float32(255)
