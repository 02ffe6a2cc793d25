"""MNIST and its relatives, from their idx files."""

import glob
import gzip
import os
import zlib
from typing import Literal

import numpy as np

from ppcore.data.datasets.dataset import ArrayImages, data_root
from ppcore.data.ranges import check_choice
from ppcore.errors import DataError

_PREFIX = {"train": "train", "test": "t10k"}


class MnistIdx(ArrayImages):
    """MNIST (or Fashion-MNIST, …) from `train-…`/`t10k-{images-idx3,labels-idx1}-ubyte[.gz]`.

    Args:
        root: the folder of the files, whose names may have a prefix (`mnist_t10k-…`); None: the
            folder `classification` in PP_DATA_DIR.
        split: which images.
        channels: 1 gives grey [28, 28, 1], 3 repeats the grey as RGB.

    Raises:
        DataError: a file is missing, damaged, or the two do not belong together.
        ConfigError: `split` or `channels` does not exist.
    """

    def __init__(
        self,
        root: str | None = None,
        split: Literal["train", "test"] = "train",
        channels: Literal[1, 3] = 1,
    ):
        check_choice(self, "split", split, list(_PREFIX))
        check_choice(self, "channels", channels, (1, 3))
        folder = data_root(root, "MnistIdx")
        if root is None:
            folder = os.path.join(folder, "classification")
        images = read_idx(_find(folder, f"{_PREFIX[split]}-images"), dims=3)
        labels = read_idx(label_path := _find(folder, f"{_PREFIX[split]}-labels"), dims=1)
        if len(images) != len(labels):
            raise DataError(f"{label_path} has {len(labels)} labels for {len(images)} images")
        classes = int(labels.max()) + 1
        names = [str(name) for name in range(classes)]
        super().__init__(np.repeat(images[..., None], channels, axis=-1), labels, names, classes)


def read_idx(path: str, dims: int) -> np.ndarray:
    """Reads an idx file of bytes, gzipped or plain.

    Args:
        path: the file.
        dims: how many dimensions it must have.

    Returns:
        uint8 array.

    Raises:
        DataError: the file is damaged, truncated or not idx of that kind.
    """
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    header = 4 + 4 * dims
    if len(data) < header or data[:4] != bytes((0, 0, 8, dims)):  # 8: unsigned bytes
        raise DataError(f"{path} is no idx file of {dims}-dimensional bytes")
    shape = np.frombuffer(data, ">u4", dims, offset=4).astype(np.int64)
    if len(data) != header + int(shape.prod()) or not shape.all():
        raise DataError(f"{path} is truncated or empty: its header promises {'x'.join(map(str, shape))} bytes")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _find(folder: str, name: str) -> str:
    found = sorted(glob.glob(os.path.join(glob.escape(folder), f"*{name}?idx*ubyte*")))
    if not found:
        raise DataError(f"MnistIdx: {folder} has no file named like {name}-idx…-ubyte.gz; set `root` to its folder")
    return found[0]
