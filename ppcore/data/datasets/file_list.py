"""Images named by a text file of `path label` lines, as PaddleClas uses."""

import os
from collections.abc import Sequence

import numpy as np

from ppcore.data.datasets.dataset import FileImages
from ppcore.errors import DataError, reason


class FileList(FileImages):
    """A list file; the argument names are PaddleClas's.

    Args:
        cls_label_path: the list file, UTF-8; empty lines are ignored.
        image_root: folder the paths are relative to.
        delimiter: what stands between path and label. None: the last run of blanks or tabs, so
            paths may contain spaces.
        num_classes: number of classes; None: one more than the largest label, or as many as there
            are class names.
        class_names: the names in label order, or a text file with one name a line.

    Raises:
        DataError: a file is missing, a line has no label, or a label is not an integer in range;
            names file and line.
    """

    def __init__(
        self,
        cls_label_path: str,
        image_root: str = ".",
        delimiter: str | None = None,
        num_classes: int | None = None,
        class_names: str | Sequence[str] | None = None,
    ):
        if isinstance(class_names, str):
            class_names = [line for _, line in text_lines(class_names)]
        classes = None if class_names is None else list(class_names)
        if classes is not None and num_classes is not None and num_classes != len(classes):
            raise DataError(f"{cls_label_path}: num_classes is {num_classes}, but {len(classes)} class names are given")
        known = num_classes if classes is None else len(classes)

        paths, labels = [], []
        for number, line in text_lines(cls_label_path):
            path, label = _split(line, delimiter, where := f"{cls_label_path}, line {number}")
            if label < 0 or (known is not None and label >= known):
                limit = "not be negative" if known is None else f"be within 0..{known - 1}"
                raise DataError(f"{where}: label {label} is out of range, it must {limit}")
            paths.append(os.path.join(image_root, path))
            labels.append(label)
        if not paths:
            raise DataError(f"list file {cls_label_path} names no image")
        if not os.path.isfile(paths[0]):  # only the first: a million stats on a network disk take minutes
            raise DataError(f"{cls_label_path}: its first image {paths[0]} does not exist: is image_root right?")
        super().__init__(paths, np.array(labels), classes, max(labels) + 1 if known is None else known)


def text_lines(path: str) -> list[tuple[int, str]]:
    """The non-empty lines of a text file with their numbers, counted from 1."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [(number, text) for number, line in enumerate(file, 1) if (text := line.strip())]
    except OSError as error:
        raise DataError(f"cannot read list file {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise DataError(f"list file {path} is no UTF-8 text") from None


def _split(line: str, delimiter: str | None, where: str) -> tuple[str, int]:
    parts = line.rsplit(delimiter, 1)
    if len(parts) != 2 or not parts[0].strip():
        between = "a blank" if delimiter is None else repr(delimiter)
        raise DataError(f"{where}: expected a path, {between} and a label, got {line!r}")
    try:
        return parts[0].strip(), int(parts[1])
    except ValueError:
        raise DataError(f"{where}: label {parts[1].strip()!r} is not an integer") from None
