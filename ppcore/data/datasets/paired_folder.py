"""Low-light images and their references in two folders."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ppcore.data.datasets.dataset import Dataset, PathTable, data_root
from ppcore.data.datasets.file_list import text_lines
from ppcore.data.datasets.flat_folder import image_names, stem, take_range, without
from ppcore.data.images.image_file import ImageFile
from ppcore.errors import DataError

Pair = tuple[str, str]


class PairedFolder(Dataset):
    """Pairs of images: UHD-LL's layout (`input/`, `gt/`), LOL's (`low/`, `high/`), or a list file.

    Two files are a pair when their names in the two folders are the same; the suffix may differ (`1.JPG`, `1.png`).
    Folders inside the two count. All sizes are compared at once, from the files' headers.

    Args:
        root: the folder that `low`, `high` and the list's names are in; None takes PP_DATA_DIR.
        low: folder of the low-light images.
        high: folder of the references.
        list: a UTF-8 text file (relative to the working directory) that says which pairs, in this order. A line
            is a name in `low`, or two paths relative to `root` with a tab or blanks between them.
        split: [start, stop] in the order of names (of lines in the list); None takes all.
        exclude: names in `low` or `high`, with or without suffix, to leave out before splitting.
        cache: a folder for decoded images (`ImageFile`): crops of 4K PNG or JPEG then cost milliseconds.

    `load` gives `{"image": ImageFile, "target": ImageFile, "path": str}`.

    Raises:
        ConfigError: `split` is not within the pairs, or an excluded name is not there.
        DataError: a folder is missing or empty, an image has no partner, the two of a pair
            differ in size, an image's header is damaged: names the files.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        low: str = "input",
        high: str = "gt",
        list: str | None = None,
        split: list[int] | None = None,
        exclude: list[str] | None = None,
        cache: str | None = None,
    ):
        folder = data_root(root, "PairedFolder")
        if list is None:
            pairs = _by_name(os.path.join(folder, low), os.path.join(folder, high), exclude)
        else:
            pairs = _by_list(list, folder, low, high, exclude)
        pairs = take_range(pairs, split, list or os.path.join(folder, low))
        self.cache = cache
        self.paths = PathTable([path for path, _ in pairs])
        self.references = PathTable([path for _, path in pairs])
        _check_sizes(pairs)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        reference = ImageFile(self.references[index], self.cache)
        return {"image": ImageFile(path, self.cache), "target": reference, "path": path}


def _by_name(low: str, high: str, exclude: Sequence[str] | None) -> list[Pair]:
    names, references = image_names(low), _References(high)
    kept = without(names, exclude, low, references.names)
    pairs = [(os.path.join(low, name), references.of(name)) for name in kept]
    alone = [path for path, reference in pairs if not reference]
    if alone:
        raise DataError(f"{alone[0]} has no reference in {high}{_and_more(alone)}: add the file or exclude the name")
    known = {stem(name) for name in (*names, *(exclude or ()))} | set(exclude or ())
    unused = [os.path.join(high, name) for name in references.names if stem(name) not in known]
    if unused:
        raise DataError(
            f"{unused[0]} has no low-light image in {low}{_and_more(unused)}: add the file or exclude the name"
        )
    return pairs


def _by_list(path: str, root: str, low: str, high: str, exclude: Sequence[str] | None) -> list[Pair]:
    references = _References(os.path.join(root, high))
    pairs, names = [], []
    for number, line in text_lines(path):
        named = os.path.join(root, low, line)
        if os.path.isfile(named):
            names.append(line)
            pairs.append((named, references.of(line)))
        else:
            both = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
            if len(both) != 2:
                raise DataError(f"{path}, line {number}: {named} does not exist, and {line!r} is not two paths")
            names.append(both[0])
            pairs.append((os.path.join(root, both[0]), os.path.join(root, both[1])))
        for file in pairs[-1]:
            if not os.path.isfile(file):
                missing = file or f"the reference of {line!r} in {references.folder}"
                raise DataError(f"{path}, line {number}: {missing} does not exist: is root right?")
    if not pairs:
        raise DataError(f"list file {path} names no image")
    kept = set(without(names, exclude, path))
    return [pair for name, pair in zip(names, pairs, strict=True) if name in kept]


class _References:
    """The images of a folder by name, with any suffix."""

    def __init__(self, folder: str):
        self.folder = folder

    @cached_property
    def names(self) -> list[str]:
        return image_names(self.folder)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(stem(name), []).append(name)
        return found

    def of(self, name: str) -> str:
        """The path of the reference of a low-light image, or "".

        Raises:
            DataError: several files could be it.
        """
        candidates = self._by_stem.get(stem(name), [])
        if len(candidates) > 1 and name in candidates:
            candidates = [name]
        if len(candidates) > 1:
            both = " and ".join(os.path.join(self.folder, candidate) for candidate in candidates[:2])
            raise DataError(f"{both} could both be the reference of {name}: remove one")
        return os.path.join(self.folder, candidates[0]) if candidates else ""


def _check_sizes(pairs: Sequence[Pair]) -> None:
    """Raises DataError for a pair of two sizes, from the headers."""
    for low, reference in pairs:
        sizes = ImageFile(low).shape, ImageFile(reference).shape
        if sizes[0] != sizes[1]:
            (h, w), (rows, columns) = sizes
            raise DataError(
                f"{low} is {h}x{w} (height x width), but its reference {reference} is {rows}x{columns}: "
                "mend the files or exclude the name"
            )


def _and_more(files: Sequence[str]) -> str:
    return f" (nor have {len(files) - 1} others)" if len(files) > 1 else ""
