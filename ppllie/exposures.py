"""Scenes of several exposures, and the two of them that a training step sees.

A sample holds `exposures`, a list of images (or handles to files) of one scene and one size. `ChooseTwo` makes a pair of
them, which the transforms of pairs in `ppcore.data` crop and turn alike; `Expose` makes a pair of one photograph.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppcore.data import Dataset, ImageFile, PairedFolder, Transform
from ppcore.data.datasets.dataset import PathTable, data_root
from ppcore.data.datasets.flat_folder import image_names, take_range, without
from ppcore.data.images.image_file import pixels_of
from ppcore.data.transforms.darken import checked_range
from ppcore.errors import ConfigError, DataError


class SceneFolders(Dataset):
    """A folder with a folder of exposures for each scene, numbered in the paper's data: `1/`, `2/`, …, `324/`.

    Args:
        root: the folder of the scenes; None takes PP_DATA_DIR.
        split: [start, stop] in the order of numbers, or of names where they are no numbers; None takes all.
        exclude: names of scenes to leave out before splitting.
        cache: a folder for decoded images (`ppcore.data.ImageFile`).

    `load` gives `{"exposures": [ImageFile, …], "path": the first one's}`, in the order of names.

    Raises:
        ConfigError: `split` is not within the scenes, or an excluded name is not there.
        DataError: there is no scene, a scene has fewer than two images, or its images differ in size: names the folder.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: Sequence[int] | None = None,
        exclude: Sequence[str] | None = None,
        cache: str | None = None,
    ):
        folder = data_root(root, "SceneFolders")
        found = (entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        names = sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
        if not names:
            raise DataError(f"SceneFolders: {folder} has no folder in it, one is wanted for each scene")
        names = take_range(without(names, exclude, folder), split, folder)
        scenes = [_exposures(os.path.join(folder, name)) for name in names]
        self.paths = PathTable([scene[0] for scene in scenes])
        self.files = PathTable([path for scene in scenes for path in scene])
        self.ends = np.cumsum([len(scene) for scene in scenes])
        self.cache = cache

    def __len__(self) -> int:
        return len(self.ends)

    def load(self, index: int) -> dict[str, Any]:
        first = int(self.ends[index - 1]) if index else 0
        files = [self.files[place] for place in range(first, int(self.ends[index]))]
        return {"exposures": [ImageFile(path, self.cache) for path in files], "path": files[0]}


class ExposureFolders(PairedFolder):
    """Two exposures of every scene in two folders, such as `low/` and `over/`: arguments and errors of `PairedFolder`.

    `load` gives `{"exposures": [ImageFile, ImageFile], "path": str}`.
    """

    def load(self, index: int) -> dict[str, Any]:
        sample = super().load(index)
        return {"exposures": [sample["image"], sample["target"]], "path": sample["path"]}


class ChooseTwo:
    """Two different exposures of a sample's, by chance and in either order, as `image` and `target`.

    Raises:
        ConfigError: when called: the sample has no exposures, or one.
    """

    on_sample = True

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        exposures = sample.get("exposures", ())
        if len(exposures) < 2:
            raise ConfigError(
                f"ChooseTwo: a sample has {len(exposures)} exposures, but two are needed: use it with a dataset of "
                "exposures (ppllie.exposures.SceneFolders)"
            )
        first, second = (exposures[place] for place in rng.choice(len(exposures), 2, replace=False))
        rest = {name: value for name, value in sample.items() if name != "exposures"}
        return {**rest, "image": first, "target": second}


class Dim:
    """Darkens every exposure of a sample so that its mean is small: PairLIE's pairs are two low-light images.

    Under a bright exposure L is near 1 and X / L, which R is to be, near or above it. An exposure's values v in 0..1 become
    k · v^power, k such that their mean is a number drawn anew for each, uniformly in its logarithm; rounded to 8 bits.

    Args:
        mean: smallest and largest mean, within 0..1.
        powers: one for each exposure in the sample's order, such as [1, 2] of an under- and an over-exposed image, whose
            contrast is less; None: 1 for all.

    Raises:
        ConfigError: a range or a power is wrong; when called: there are not as many exposures as powers.
    """

    on_sample = True

    def __init__(self, *, mean: Sequence[float], powers: Sequence[float] | None = None):
        self.mean = checked_range(self, mean, "mean", 1e-3)
        if self.mean[1] > 1:
            raise ConfigError(f"Dim: mean is {list(mean)}, but must not be above 1")
        if powers is not None and not all(power > 0 for power in powers):
            raise ConfigError(f"Dim: powers are {list(powers)}, but must be above 0")
        self.powers = powers

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        exposures = sample.get("exposures", ())
        powers = [1.0] * len(exposures) if self.powers is None else self.powers
        if not exposures or len(exposures) != len(powers):
            raise ConfigError(
                f"Dim: a sample has {len(exposures)} exposures, but there are {len(powers)} powers: put it before "
                "ChooseTwo, after a dataset of exposures, and give a power for each"
            )
        return {**sample, "exposures": [self.dim(*pair, rng) for pair in zip(exposures, powers, strict=True)]}

    def dim(self, exposure: Any, power: float, rng: np.random.Generator) -> np.ndarray:
        """uint8 [H, W, 3] of an image or a handle; one that is all black stays so."""
        pixels = pixels_of(exposure)
        levels = np.iinfo(pixels.dtype).max
        curve = (np.arange(levels + 1) / levels) ** power
        mean = float(curve[pixels].mean())
        wanted = float(np.exp(rng.uniform(*np.log(self.mean))))
        return np.rint(255 * np.minimum(curve * (wanted / max(mean, 1 / levels)), 1.0)).astype(np.uint8)[pixels]


class Expose:
    """Two exposures made from one photograph, as `image` and `target`.

    Args:
        exposure: makes `image` of a sample's `target`, another one each time it is called.

    Raises:
        ConfigError: when called: the samples have no target.
    """

    on_sample = True

    def __init__(self, *, exposure: Transform):
        self.exposure = exposure

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        first, second = (self.exposure(sample, rng)["image"] for _ in range(2))
        return {**sample, "image": first, "target": second}


def _exposures(folder: str) -> list[str]:
    """The images of a scene.

    Raises:
        DataError: fewer than two, or of several sizes.
    """
    paths = [os.path.join(folder, name) for name in image_names(folder)]
    if len(paths) < 2:
        raise DataError(
            f"SceneFolders: {folder} has one image, but two exposures are needed: add one or exclude the scene"
        )
    height, width = ImageFile(paths[0]).shape
    for path in paths[1:]:
        rows, columns = ImageFile(path).shape
        if (rows, columns) != (height, width):
            raise DataError(
                f"SceneFolders: {path} is {rows}x{columns} (height x width), but {paths[0]} is {height}x{width}: mend "
                "the files or exclude the scene"
            )
    return paths
