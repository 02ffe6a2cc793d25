"""What a dataset is, and the two ways of keeping one in memory."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ppcore.data.images.decode import read_image
from ppcore.errors import ConfigError, DataError


class Dataset(Protocol):
    """A map-style dataset. One that derives from this class declares what it has; the rest is None or 0.

    Attributes:
        classes: the classes' names in label order, or None when they have none.
        num_classes: labels are 0 <= label < num_classes; 0 without labels.
        labels: of all images, int64 [N], or None when they are not known beforehand.
        paths: of all images, or None when they are in no files.
    """

    classes: Sequence[str] | None = None
    num_classes: int = 0
    labels: np.ndarray | None = None
    paths: "Sequence[str] | PathTable | None" = None

    def __len__(self) -> int: ...

    def load(self, index: int) -> dict[str, Any]:
        """One sample, a dict whose arrays and numbers become those of the batches.

        Transforms take `image`, uint8 [H, W, 3] RGB or [H, W, 1] grey; classification takes `label`, int. `path`, a
        str or None, is for messages.

        Raises:
            DataError: the image cannot be read; names the file.
        """
        ...


class PathTable:
    """A read-only list of paths held in two arrays.

    A list of a million `str` costs every worker its own copy: reading a Python object writes its
    reference count and so un-shares the forked page. Arrays stay shared.
    """

    def __init__(self, paths: Sequence[str]):
        encoded = [os.fsencode(path) for path in paths]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._bytes[start : self._ends[index]].tobytes())


class LabelledImages(Dataset):
    """Base of data sets whose labels are known beforehand.

    Args:
        labels: [N] integers.
        classes: class names in label order, or None.
        num_classes: number of classes.
    """

    def __init__(self, labels: np.ndarray, classes: list[str] | None, num_classes: int):
        self.labels = np.asarray(labels, np.int64)
        self.classes = classes
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.labels)


class FileImages(LabelledImages):
    """Images in files, `paths`, decoded when asked for; the other arguments are those of `LabelledImages`."""

    def __init__(self, paths: Sequence[str], labels: np.ndarray, classes: list[str] | None, num_classes: int):
        super().__init__(labels, classes, num_classes)
        self.paths = PathTable(paths)

    def load(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        return {"image": read_image(path), "label": int(self.labels[index]), "path": path}


class ArrayImages(LabelledImages):
    """Images held in memory, uint8 [N, H, W, C]; the other arguments are those of `LabelledImages`."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: list[str] | None, num_classes: int):
        super().__init__(labels, classes, num_classes)
        self.images = images

    def load(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "label": int(self.labels[index]), "path": None}


def check_labels(dataset: Dataset, num_classes: int) -> None:
    """Checks that a model with `num_classes` outputs can be trained or evaluated on `dataset`.

    A model with more outputs than the dataset has classes is fine (a subset of ImageNet).

    Raises:
        DataError: a label is negative or not below `num_classes`; names the first such image.
    """
    labels = dataset.labels
    if labels is None:
        if dataset.num_classes > num_classes:
            raise DataError(
                f"{type(dataset).__name__} has {dataset.num_classes} classes but the model has "
                f"{num_classes} outputs: set Arch.num_classes"
            )
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        first = int(wrong[0])
        where = f"image {first}" if dataset.paths is None else dataset.paths[first]
        raise DataError(
            f"{type(dataset).__name__}: label {int(labels[first])} of {where} is out of range for a model "
            f"with {num_classes} outputs ({len(wrong)} of {len(labels)} images): set Arch.num_classes"
        )


def data_root(root: str | None, what: str) -> str:
    """The folder of a dataset: `root`, or else the environment variable PP_DATA_DIR.

    Raises:
        DataError: neither is given, or the folder does not exist.
    """
    folder = root if root is not None else os.environ.get("PP_DATA_DIR")
    if not folder:
        raise DataError(f"{what}: no data folder given: set `root` in the config or PP_DATA_DIR in the environment")
    if not os.path.isdir(folder):
        source = "root" if root is not None else "PP_DATA_DIR"
        raise DataError(f"{what}: {source} is {folder}, which is no folder")
    return folder


def take_stratified(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Indices of `limit` images, evenly spaced in the list sorted by class, so equally many a class.

    Args:
        labels: [N].
        limit: how many to take; None takes all.

    Returns:
        Increasing indices into `labels`, int64 [limit].

    Raises:
        ConfigError: `limit` is not within 1..N.
    """
    if limit is None:
        return np.arange(len(labels))
    if not 1 <= limit <= len(labels):
        raise ConfigError(f"limit is {limit}, but must be within 1..{len(labels)} (the images there are)")
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.arange(limit) * len(labels) // limit])
