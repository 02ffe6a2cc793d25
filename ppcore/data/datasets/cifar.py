"""CIFAR-10 kept as JPEG bytes in one `.npz` file."""

import os
from typing import Any, Literal

import numpy as np

from ppcore.data.datasets.dataset import LabelledImages, data_root, take_stratified
from ppcore.data.images.decode import decode_image
from ppcore.data.ranges import check_choice
from ppcore.errors import DataError

FILE = os.path.join("classification", "cifar10_jpeg_20k_10k.npz")


class Cifar10Jpeg(LabelledImages):
    """20,000 train and 10,000 test images of CIFAR-10 (32x32), stored as JPEG.

    The JPEG copies are slightly lossy against the original batches; use `PaddleVision` for those.

    Args:
        root: folder that holds `classification/cifar10_jpeg_20k_10k.npz`; None: PP_DATA_DIR.
        split: which images.
        limit: take only so many, equally many a class, the same ones every time; None takes all.

    Raises:
        DataError: the file is absent or damaged.
        ConfigError: `split` or `limit` does not exist.
    """

    def __init__(self, root: str | None = None, split: Literal["train", "test"] = "train", limit: int | None = None):
        check_choice(self, "split", split, ("train", "test"))
        path = os.path.join(data_root(root, "Cifar10Jpeg"), FILE)
        try:
            with np.load(path) as file:  # allow_pickle is off: nothing in the file is executed
                data, offsets, labels = (file[f"{split}_{name}"] for name in ("bytes", "offsets", "labels"))
                classes = [str(name) for name in file["classes"]]
        except FileNotFoundError:
            raise DataError(f"Cifar10Jpeg: {path} does not exist; set `root` or PP_DATA_DIR to its folder") from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"Cifar10Jpeg: {path} is damaged or another kind of file: {error}") from None
        self.split = split
        self.index = take_stratified(labels, limit)
        super().__init__(labels[self.index], classes, len(classes))
        self._bytes = data
        self._offsets = offsets

    def load(self, index: int) -> dict[str, Any]:
        number = int(self.index[index])
        data = self._bytes[self._offsets[number] : self._offsets[number + 1]].tobytes()
        image = decode_image(data, f"{self.split} image {number} of {FILE}")
        return {"image": image, "label": int(self.labels[index]), "path": None}
