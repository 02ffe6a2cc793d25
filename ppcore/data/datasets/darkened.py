"""Pairs without a camera: normal photographs as references, darkened as inputs (`ppcore.data.transforms.darken`)."""

from typing import Any, Literal

import numpy as np

from ppcore.data.datasets.dataset import Dataset
from ppcore.data.datasets.flat_folder import FlatFolder
from ppcore.data.datasets.photographs import Photographs
from ppcore.data.images.image_file import ImageFile, Window
from ppcore.data.transforms.darken import Darken, Darkening


class DarkenedPhotographs(Dataset):
    """The photographs of `ppcore.data.Photographs`, each with one dark version that is always the same.

    For training put a `Darkening` such as `ppcore.data.Darken` without seed after the crop: it makes a new dark image every time.

    Args:
        split: `test` holds photographs of other scenes than `train`.
        darken: how; with a seed. None takes `Darken`'s default ranges with seed 0.

    `load` gives `{"image": dark, "target": photograph, "path": str}`, uint8 [H, W, 3].

    Raises:
        ConfigError: `split` is none of the three, or `darken` has no seed.
    """

    def __init__(self, *, split: Literal["train", "test", "all"] = "train", darken: Darkening | None = None):
        photographs = Photographs(split=split)
        darkening = Darken(seed=0) if darken is None else darken
        self.paths = photographs.paths
        self.targets = photographs.images
        self.images = [_dark(darkening, *pair) for pair in zip(self.targets, self.paths, strict=True)]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "target": self.targets[index], "path": self.paths[index]}


class DarkenedFolder(FlatFolder):
    """Any folder of normal photographs, each with one dark version; see `DarkenedPhotographs`.

    Args:
        root: the folder, with those inside it; None takes PP_DATA_DIR.
        split: [start, stop] in the order of names; None takes all.
        exclude: names to leave out.
        darken: how; with a seed. None takes `Darken`'s default ranges with seed 0.
        cache: a folder for decoded photographs (`ppcore.data.ImageFile`).

    `load` gives handles: `target` an `ImageFile`, `image` a `DarkenedImage` of it.

    Raises:
        ConfigError: `split` or `exclude` does not fit, or `darken` has no seed.
        DataError: the folder is missing or holds no image.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: list[int] | None = None,
        exclude: list[str] | None = None,
        darken: Darkening | None = None,
        cache: str | None = None,
    ):
        super().__init__(root=root, split=split, exclude=exclude, cache=cache)
        self.darkening = Darken(seed=0) if darken is None else darken
        self.darkening.rng("")  # refuses one without seed now, not at the first image

    def load(self, index: int) -> dict[str, Any]:
        sample = super().load(index)
        return {
            "image": DarkenedImage(sample["image"], self.darkening),
            "target": sample["image"],
            "path": sample["path"],
        }


class DarkenedImage:
    """The dark version of a photograph in a file, made for the window that is read.

    The exposure depends on the seed and the file's name. The noise of a window is drawn for it: the same window is
    the same every time, but is no part of the whole image's noise.

    Args:
        source: the photograph.
        darkening: how; with a seed.

    Attributes:
        shape: (H, W).
    """

    def __init__(self, source: ImageFile, darkening: Darkening):
        self.source = source
        self.darkening = darkening

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    def read(self, window: Window | None = None) -> np.ndarray:
        """uint8 [H, W, 3] of a window (top, left, height, width), or of the whole."""
        return _dark(self.darkening, self.source.read(window), self.source.path)


def _dark(darkening: Darkening, pixels: np.ndarray, path: str) -> np.ndarray:
    return darkening.dark(pixels, darkening.rng(path))
