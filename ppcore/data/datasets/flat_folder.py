"""Photographs in a folder, without labels."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

from ppcore.data.datasets.dataset import Dataset, PathTable, data_root
from ppcore.data.images.find import IMAGE_SUFFIXES, walk_images
from ppcore.data.images.image_file import ImageFile
from ppcore.errors import ConfigError, DataError, nearest

Item = TypeVar("Item")


class FlatFolder(Dataset):
    """All images of a folder and the folders inside it, in the order of their names.

    Args:
        root: the folder; None takes PP_DATA_DIR.
        split: [start, stop] in the order of names; None takes all.
        exclude: names relative to the folder, with or without suffix, to leave out before splitting.
        cache: a folder for decoded images (`ImageFile`).

    `load` gives `{"image": ImageFile, "path": str}`.

    Raises:
        ConfigError: `split` is not within the images, or an excluded name is not there.
        DataError: the folder is missing or holds no image.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: list[int] | None = None,
        exclude: list[str] | None = None,
        cache: str | None = None,
    ):
        folder = data_root(root, type(self).__name__)
        names = without(image_names(folder), exclude, folder)
        self.paths = PathTable([os.path.join(folder, name) for name in take_range(names, split, folder)])
        self.cache = cache

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        return {"image": ImageFile(path, self.cache), "path": path}


def image_names(folder: str) -> list[str]:
    """The images inside a folder, relative to it, sorted.

    Raises:
        DataError: it does not exist or holds no image.
    """
    if not os.path.isdir(folder):
        raise DataError(f"image folder {folder} does not exist or is no folder")
    # Names with a dot in front are other programs' (macOS writes `._1.png` beside `1.png`).
    paths = (path for path in walk_images(folder) if not os.path.basename(path).startswith("."))
    names = [os.path.relpath(path, folder) for path in paths]
    if not names:
        raise DataError(f"image folder {folder} holds no image ({' '.join(IMAGE_SUFFIXES)})")
    return sorted(names)


def stem(name: str) -> str:
    """A name without its suffix."""
    return os.path.splitext(name)[0]


def without(
    names: Sequence[str], exclude: Sequence[str] | None, folder: str, elsewhere: Sequence[str] = ()
) -> list[str]:
    """The names that are not excluded, by name or by stem; those in `elsewhere` may be excluded too.

    Raises:
        ConfigError: an excluded name is not among them.
        DataError: none is left.
    """
    known = {*names, *map(stem, names), *elsewhere, *map(stem, elsewhere)}
    for name in exclude or ():
        if name not in known:
            raise ConfigError(f"exclude: {folder} has no image {name!r}{nearest(name, names)}")
    left = [name for name in names if not {name, stem(name)} & set(exclude or ())]
    if not left:
        raise DataError(f"image folder {folder}: exclude leaves no image of {len(names)}")
    return left


def take_range(names: Sequence[Item], split: Sequence[int] | None, folder: str) -> Sequence[Item]:
    """`names[start:stop]` for `split` [start, stop].

    Raises:
        ConfigError: not 0 <= start < stop <= len(names).
    """
    if split is None:
        return names
    if len(split) != 2 or not 0 <= split[0] < split[1] <= len(names):
        raise ConfigError(
            f"split is {list(split)}, but must be [start, stop] within 0..{len(names)}, the images of {folder}"
        )
    return names[split[0] : split[1]]
