"""A photograph through a network that makes images: full bit depth in, full bit depth out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ppcore.data.images.orientation import stored
from ppcore.errors import DataError
from ppcore.photo.photo_form import AS_IT_IS, PhotoForm
from ppcore.photo.photo_io import FORMATS
from ppcore.photo.photograph import Photograph

# Rows converted at a time, so that nothing but input, result and pixels is whole.
_ROWS = 256


def enhance(
    compute: Callable[[np.ndarray], np.ndarray], photo: Photograph, name: str, form: PhotoForm = AS_IT_IS
) -> Photograph:
    """The photograph with the pixels that a network makes of it, and alpha enlarged with them.

    Args:
        compute: float32 [1, C, H, W] -> [1, C, H', W'] as `form` says.
        photo: what it is given.
        name: of the photograph, for errors.
        form: what the network takes and gives.

    Raises:
        DataError: the network's result is not finite or of another size, or larger than its format holds.
    """
    size = form.size(*photo.pixels.shape[:2])
    if max(size) > (longest := FORMATS[photo.format].longest):
        raise DataError(
            f"{name}: the result would be {size[1]}x{size[0]}, and a side of {photo.format} has at most {longest} pixels: save it "
            "as PNG or TIFF first"
        )
    y = compute(network_input(photo, form))
    if y.shape != (wanted := (1, 1 if form.channels == "y" else 3, *size)):
        raise DataError(f"{name}: the network's result is {list(y.shape)}, and {list(wanted)} was to come")
    rgb = form.channels == "rgb"
    out = np.empty((*size, 3 if rgb else photo.pixels.shape[2]), photo.pixels.dtype)
    finish = None if rgb else _luma_to_pixels(photo, form)
    for top, bottom in _strips(size[0]):
        rows = np.clip(y[0, :, top:bottom].astype(np.float32, copy=False), 0, 1)
        if not np.isfinite(rows).all():  # clip keeps NaN, which would become an arbitrary integer
            raise DataError(
                f"{name}: the network's result is not finite; check the weights, or use Infer.precision=fp32"
            )
        # Where the metrics round: a product in float32 may become a half, and some samples the step beside.
        rows = rows.astype(np.float64).transpose(1, 2, 0)
        out[top:bottom] = np.rint((rows if finish is None else finish(rows, top, bottom)) * np.iinfo(out.dtype).max)
    result = photo.with_rgb(out) if rgb else replace(photo, pixels=out)
    if form.scale == 1:
        return result
    metadata = FORMATS[photo.format].resized(photo.metadata, *stored(out, photo.orientation).shape[:2])
    return replace(result, alpha=_enlarged_alpha(photo.alpha, form), metadata=metadata)


def network_input(photo: Photograph, form: PhotoForm) -> np.ndarray:
    """What the network is given: float32 [1, 3 (RGB) or 1 (Y), H, W], in [0, 1] where it is not enlarged."""
    if form.channels == "rgb" and not form.enlarged_first:
        rgb, most = photo.rgb(), np.float32(np.iinfo(photo.pixels.dtype).max)
        x = np.empty((1, 3, *rgb.shape[:2]), np.float32)
        for channel in range(3):
            np.divide(rgb[:, :, channel], most, out=x[0, channel], dtype=np.float32)
        return x
    from ppcore.photo.enlarged_rows import EnlargedRows, luma  # here: scipy takes 0.2 s to import

    height, width = form.size(*photo.pixels.shape[:2]) if form.enlarged_first else photo.pixels.shape[:2]
    scale = form.scale if form.enlarged_first else 1
    planes = EnlargedRows(photo.pixels, scale, luma) if form.channels == "y" else EnlargedRows(photo.rgb(), scale)
    x = np.empty((1, 1 if form.channels == "y" else 3, height, width), np.float32)
    for top, bottom in _strips(height):
        x[0, :, top:bottom] = planes(top, bottom).transpose(2, 0, 1)
    return x


def _luma_to_pixels(photo: Photograph, form: PhotoForm) -> Callable[[np.ndarray, int, int], np.ndarray]:
    """(Y [h, W, 1], top, bottom) -> the photograph's kind of pixels in 0..1: grey is Y, colours get theirs by bicubic."""
    if photo.pixels.shape[2] == 1:
        return lambda y, top, bottom: y
    from ppcore.photo.enlarged_rows import EnlargedRows, chroma, colours

    others = EnlargedRows(photo.pixels, form.scale, chroma)
    return lambda y, top, bottom: colours(y, others(top, bottom))


def _enlarged_alpha(alpha: np.ndarray | None, form: PhotoForm) -> np.ndarray | None:
    if alpha is None:
        return None
    from ppcore.photo.enlarged_rows import EnlargedRows

    enlarged, most = EnlargedRows(alpha[:, :, None], form.scale), np.iinfo(alpha.dtype).max
    out = np.empty(form.size(*alpha.shape), alpha.dtype)
    for top, bottom in _strips(len(out)):
        out[top:bottom] = np.rint(enlarged(top, bottom)[:, :, 0].clip(0, 1) * most)
    return out


def _strips(height: int) -> Iterator[tuple[int, int]]:
    return ((top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))
