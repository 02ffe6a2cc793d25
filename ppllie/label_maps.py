"""Label maps beside low-light pairs, for criteria that treat each class on its own: from files, or from the colours."""

import os
from typing import Any

import numpy as np
from PIL import Image
from skimage import color, filters

from ppcore.data import Dataset
from ppcore.data.datasets.dataset import data_root
from ppcore.data.images.image_file import pixels_of
from ppcore.errors import ConfigError, DataError
from ppcore.layers import checks


class LabelledPairs(Dataset):
    """Pairs with the label map that some segmenter has made of each: a dataset of pairs, and a folder of PNG files.

    A map is an 8-bit PNG with a label in each pixel, grey or with a palette (whose colours do not matter), of the
    pair's size and called like the low-light image (`1.png` for `1.JPG`). The transforms of pairs crop and turn it.

    Args:
        pairs: such as `ppcore.data.PairedFolder`; its samples have a `path`.
        maps: the folder.
        root: what `maps` is in; None takes PP_DATA_DIR.

    `load` gives what `pairs` gives and `label_map`, uint8 [H, W].

    Raises:
        DataError: a map is missing (said at once where the pairs are in files), is no such PNG, or has another size.
    """

    def __init__(self, *, pairs: Dataset, maps: str, root: str | None = None):
        self.pairs = pairs
        self.folder = os.path.join(data_root(root, "LabelledPairs"), maps)
        self.paths = pairs.paths
        for number in range(0 if self.paths is None else len(self.paths)):
            self._map_of(self.paths[number])

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> dict[str, Any]:
        sample = self.pairs.load(index)
        path = self._map_of(sample["path"])
        labels = read_label_map(path)
        if labels.shape != tuple(sample["image"].shape[:2]):
            raise DataError(
                f"{path} is {list(labels.shape)}, but its image {sample['path']} is {sample['image'].shape}"
            )
        return {**sample, "label_map": labels}

    def _map_of(self, path: str) -> str:
        stem = os.path.splitext(os.path.basename(path))[0]
        found = os.path.join(self.folder, f"{stem}.png")
        if not os.path.isfile(found):
            raise DataError(f"LabelledPairs: there is no label map {found} of {path}: add it or exclude the pair")
        return found


def read_label_map(path: str) -> np.ndarray:
    """The labels of an 8-bit PNG, grey or with a palette: uint8 [H, W].

    Raises:
        DataError: the file cannot be read or is of another kind.
    """
    try:
        with Image.open(path) as image:
            if image.format != "PNG" or image.mode not in ("L", "P"):
                raise DataError(f"{path}: a label map is an 8-bit PNG, grey or with a palette; this is {image.mode}")
            return np.array(image, np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be read as a label map: {error}") from error


class ColourClasses:
    """Adds a `label_map` of the sample's `target` by brightness and colour: a stand-in for a segmenter.

    The classes are no objects. Lightness (CIELAB) is cut by Otsu's thresholds of the image itself; in each part a pixel
    is neutral (chroma below `neutral`) or of one of `hues` equal sectors of hue. It stands after the crop and before
    `ppcore.data.PairToFloat`. There are `brightness · (hues + 1)` classes, some of them empty.

    Args:
        brightness: parts of the lightness, 1 to 4.
        hues: sectors.
        neutral: chroma.

    Raises:
        ConfigError: an argument out of range; when called: the samples have no target.
    """

    on_sample = True

    def __init__(self, *, brightness: int = 3, hues: int = 4, neutral: float = 12.0):
        checks.whole(self, 1, brightness=brightness, hues=hues)
        checks.positive(self, neutral=neutral)
        if brightness > 4 or brightness * (hues + 1) > 256:
            raise ConfigError("ColourClasses: brightness must be 1 to 4, and there can be 256 classes at most")
        self.brightness, self.hues, self.neutral = brightness, hues, neutral

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
        if "target" not in sample:
            raise ConfigError("ColourClasses: the samples have no target: use it with a dataset of pairs")
        target = pixels_of(sample["target"])
        return {**sample, "target": target, "label_map": self.labels(target)}

    def labels(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W] of an image [H, W, 3] RGB, uint8 or uint16: part · (hues + 1) + colour, colour 0 neutral."""
        if image.dtype not in (np.uint8, np.uint16):
            raise ConfigError(f"ColourClasses: got {image.dtype} pixels: put it before PairToFloat")
        lightness, a, b = np.moveaxis(color.rgb2lab(image), -1, 0)
        sector = np.floor((np.arctan2(b, a) / (2 * np.pi) % 1.0) * self.hues).astype(np.int64) % self.hues
        colour = np.where(np.hypot(a, b) < self.neutral, 0, 1 + sector)
        levels = np.round(lightness).astype(np.int64)  # 0..100
        parts = min(self.brightness, len(np.unique(levels)))
        thresholds = filters.threshold_multiotsu(levels, classes=parts) if parts > 1 else []
        return (np.digitize(levels, thresholds, right=True) * (self.hues + 1) + colour).astype(np.uint8)
