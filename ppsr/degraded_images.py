"""Photographs, and test and training sets of them in low resolution."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ppcore.data import Dataset, decode_image
from ppcore.data.datasets.dataset import PathTable, data_root
from ppcore.data.datasets.flat_folder import image_names, take_range, without
from ppcore.data.images.decode import read_bytes
from ppcore.data.images.image_file import pixels_of
from ppcore.data.images.matlab_resize import Border
from ppcore.data.images.ycbcr import YName
from ppcore.errors import DataError
from ppsr.degrade import Degraded, InputName, check_making, degrade
from ppsr.sr_protocols import Fit, ProtocolName, Resizer, Shrunk, protocol_of


class ImagesOf(Dataset):
    """The images in a folder, not those of folders inside it: Set5 and Set14 hold low-resolution copies there.

    Args:
        folder: the folder, such as `sr/Set5`, inside `root`.
        root: None takes PP_DATA_DIR.
        split: [start, stop] in the order of names; None takes all.
        exclude: names, with or without suffix, to leave out before splitting.

    `load` gives `{"image": uint8 [H, W, 3] RGB, or [H, W] of a grey file, "path": str}`.

    Raises:
        ConfigError: `split` is not within the images, or an excluded name is not there.
        DataError: the folder is missing or holds no image.
    """

    def __init__(
        self,
        *,
        folder: str,
        root: str | None = None,
        split: Sequence[int] | None = None,
        exclude: Sequence[str] | None = None,
    ):
        place = os.path.join(data_root(root, "ImagesOf"), folder)
        names = [name for name in image_names(place) if os.path.dirname(name) == ""]
        if not names:
            raise DataError(f"ImagesOf: {place} holds images in the folders inside it alone: name one of those")
        names = take_range(without(names, exclude, place), split, place)
        self.paths = PathTable([os.path.join(place, name) for name in names])

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        data = read_bytes(path)
        pixels = decode_image(data, path)
        with Image.open(io.BytesIO(data)) as file:
            grey = file.mode.startswith(("1", "L", "I", "F"))
        return {"image": pixels[..., 0] if grey else pixels, "path": path}


class DegradedImages(Dataset):
    """Whole photographs in low resolution, and themselves as references, as a protocol makes them.

    Each is made once and stays in memory, unless `keep` says otherwise. `ppsr.LumaQuality` measures with the same protocol; for training on colours,
    `ppsr.RandomPatch` crops.

    Args:
        source: the photographs, such as `ppsr.ImagesOf` or `ppcore.data.Photographs`.
        scale: 2, 3, 4, …
        input: `bicubic`: Y enlarged to the reference's size; `lr`: Y of low resolution; `lr_rgb`: 8-bit colours of low
            resolution, the reference in colours too.
        protocol: see `ppsr.LumaQuality`.
        resizer: see `ppsr.sr_protocols.Making`; None: as the protocol says, and so the others.
        border: likewise.
        fit: likewise.
        shrunk: likewise.
        enlarged: likewise.
        y: likewise.
        y8: likewise.
        clip16: likewise.
        keep: whether what was made stays in memory; `false` to train on more photographs than fit.

    `load` gives `{"image": float32 [C, h, w], "target": float32 [C, H, W], "scale": int, "protocol": int, "path": str}`,
    C 1 or 3.

    Raises:
        ConfigError: an argument is none of its choices, or they do not go together.
        DataError: from `load`: a photograph is smaller than the scale, or has no 8-bit pixels.
    """

    def __init__(
        self,
        *,
        source: Dataset,
        scale: int,
        input: InputName = "bicubic",
        protocol: ProtocolName = "matlab_y8_replicate",
        resizer: Resizer | None = None,
        border: Border | None = None,
        fit: Fit | None = None,
        shrunk: Shrunk | None = None,
        enlarged: Shrunk | None = None,
        y: YName | None = None,
        y8: bool | None = None,
        clip16: bool | None = None,
        keep: bool = True,
    ):
        self.making = protocol_of(
            protocol,
            resizer=resizer,
            border=border,
            fit=fit,
            shrunk=shrunk,
            enlarged=enlarged,
            y=y,
            y8=y8,
            clip16=clip16,
        ).making
        check_making(self, scale, self.making, input)
        self.source, self.scale, self.input, self.keep = source, scale, input, keep
        self.paths = source.paths
        self._made: dict[int, Degraded] = {}

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> dict[str, Any]:
        path = None if self.paths is None else self.paths[index]
        made = self._made.get(index)
        if made is None:
            made = degrade(photograph(self.source, index), self.scale, self.making, self.input)
        if self.keep:
            self._made[index] = made
        return {
            "image": made.image,
            "target": made.target,
            "scale": self.scale,
            "protocol": self.making.fingerprint,
            "path": path,
        }


def photograph(source: Dataset, index: int) -> np.ndarray:
    """The pixels of one of a data set's photographs, uint8 [H, W, 3] or [H, W].

    Raises:
        DataError: they are not of 8 bits.
    """
    sample = source.load(index)
    pixels = pixels_of(sample["image"])
    if pixels.dtype != np.uint8:
        where = sample.get("path") or f"image {index}"
        raise DataError(
            f"{where} has {pixels.dtype} pixels: the protocols of super-resolution are of 8-bit photographs"
        )
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
