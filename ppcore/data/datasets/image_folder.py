"""Images sorted into one folder per class: `root/<class>/**/*.jpg`."""

import os

import numpy as np

from ppcore.data.datasets.dataset import FileImages
from ppcore.data.images.find import IMAGE_SUFFIXES, walk_images
from ppcore.errors import DataError

_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


class ImageFolder(FileImages):
    """ImageNet's layout; class folders in sorted order are labels 0, 1, 2, ….

    Like torchvision's `ImageFolder`: subfolders of a class count, other files are ignored, and
    the order is the sorted one, so an index means the same image everywhere.

    Args:
        root: the folder that holds the class folders.

    Raises:
        DataError: `root` is missing, has no class folders, a class folder holds no image, or the folders are splits
            (train, val) that hold class folders themselves.
    """

    def __init__(self, root: str):
        if not os.path.isdir(root):
            raise DataError(f"image folder {root} does not exist or is no folder")
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        if not classes:
            raise DataError(f"image folder {root} has no class folders (expected {root}/<class>/<image>)")
        if set(classes) <= _SPLITS and not any(
            _is_image(entry) for name in classes for entry in os.scandir(f"{root}/{name}")
        ):
            raise DataError(
                f"image folder {root}: its folders {', '.join(classes)} look like splits of a data set, not classes: "
                f"set root to {os.path.join(root, classes[0])}"
            )
        paths, labels = [], []
        for label, name in enumerate(classes):
            files = list(walk_images(os.path.join(root, name)))
            if not files:
                raise DataError(
                    f"class folder {os.path.join(root, name)} holds no image ({' '.join(IMAGE_SUFFIXES)}): "
                    "add images or remove it"
                )
            paths += files
            labels += [label] * len(files)
        super().__init__(paths, np.array(labels), classes, len(classes))


def _is_image(entry: os.DirEntry) -> bool:
    return entry.is_file() and entry.name.lower().endswith(IMAGE_SUFFIXES)
