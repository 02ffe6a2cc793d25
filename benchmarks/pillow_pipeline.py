"""A training pipeline on Pillow and numpy: what the fast transforms are measured against.

Every stage takes our own transform and draws its random parameters from it, so that both pipelines
do the same work on the same image with the same generator: only the pixels are made otherwise.
A stage is `stage(image, transform, rng) -> image`.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Picture = Image.Image
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(data: bytes, transform: Any, rng: np.random.Generator) -> Picture:
    """A JPEG's bytes to an RGB picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def crop(picture: Picture, transform: Any, rng: np.random.Generator) -> Picture:
    """The box of a RandomResizedCrop, resized with Pillow's antialiasing."""
    top, left, height, width = transform.box(picture.height, picture.width, rng)
    part = picture.crop((left, top, left + width, top + height))
    return part.resize((transform.width, transform.height), _RESAMPLING[transform.interpolation])


def flip(picture: Picture, transform: Any, rng: np.random.Generator) -> Picture:
    """A RandomHorizontalFlip."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < transform.p else picture


def augment(picture: Picture, transform: Any, rng: np.random.Generator) -> Picture:
    """The operations a RandAugment draws."""
    fill = tuple(int(value) for value in transform.fill[3])
    for name, argument, kernel in transform.draw(rng):
        if name in GEOMETRIC_OPERATIONS:
            picture = GEOMETRIC_OPERATIONS[name](picture, argument, resample=_RESAMPLING[kernel], fillcolor=fill)
        else:
            picture = VALUE_OPERATIONS[name](picture, *([] if argument is None else [argument]))
    return picture


def normalize(picture: Picture, transform: Any, rng: np.random.Generator) -> np.ndarray:
    """The picture as normalised float32 [C, H, W]; in place where numpy can."""
    image = np.asarray(picture).transpose(2, 0, 1).astype(np.float32, order="C")
    image /= 255
    image -= np.array(transform.mean).reshape(-1, 1, 1)
    image /= np.array(transform.std).reshape(-1, 1, 1)
    return image


def erase(image: np.ndarray, transform: Any, rng: np.random.Generator) -> np.ndarray:
    """The boxes of a RandomErasing, in place."""
    for top, left, height, width in transform.boxes(*image.shape[1:], rng):
        image[:, top : top + height, left : left + width] = transform.content(image.shape[0], height, width, rng)
    return image


def _affine(coefficients: Callable[[Picture, float], tuple[float, ...]]) -> Callable[..., Picture]:
    def operation(picture: Picture, argument: float, **how: Any) -> Picture:
        return picture.transform(picture.size, Image.Transform.AFFINE, coefficients(picture, argument), **how)

    return operation


def _solarize_add(picture: Picture, add: int) -> Picture:
    table = [min(255, value + add) if value < 128 else value for value in range(256)]
    return picture.point(table * len(picture.getbands()))


def _posterize(picture: Picture, bits: int) -> Picture:
    return picture.point([value & ~(2 ** (8 - bits) - 1) for value in range(256)] * len(picture.getbands()))


def _enhance(kind: type) -> Callable[[Picture, float], Picture]:
    return lambda picture, factor: kind(picture).enhance(factor)


VALUE_OPERATIONS: dict[str, Callable[..., Picture]] = {
    "AutoContrast": ImageOps.autocontrast,
    "Equalize": ImageOps.equalize,
    "Invert": ImageOps.invert,
    "Posterize": _posterize,  # ImageOps.posterize refuses 0 bits
    "Solarize": ImageOps.solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _enhance(ImageEnhance.Color),
    "Contrast": _enhance(ImageEnhance.Contrast),
    "Brightness": _enhance(ImageEnhance.Brightness),
    "Sharpness": _enhance(ImageEnhance.Sharpness),
}
GEOMETRIC_OPERATIONS: dict[str, Callable[..., Picture]] = {
    "Rotate": Image.Image.rotate,
    "ShearX": _affine(lambda picture, factor: (1, factor, 0, 0, 1, 0)),
    "ShearY": _affine(lambda picture, factor: (1, 0, 0, factor, 1, 0)),
    "TranslateXRel": _affine(lambda picture, share: (1, 0, share * picture.width, 0, 1, 0)),
    "TranslateYRel": _affine(lambda picture, share: (1, 0, 0, 0, 1, share * picture.height)),
}
