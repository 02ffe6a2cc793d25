"""Matching the classes of one data set to those a model was trained on: by name, never by place."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppcore.data.datasets.dataset import Dataset
from ppcore.errors import DataError

log = logging.getLogger("ppcore.data")

_SHOWN = 5  # names in a message


class Relabelled(Dataset):
    """A dataset under other labels.

    Args:
        dataset: the images.
        new: its label -> the label to use.
        classes: the names in the order of the labels to use.
    """

    def __init__(self, dataset: Dataset, new: Sequence[int], classes: Sequence[str]):
        self.dataset, self.new = dataset, np.asarray(new, np.int64)
        self.classes, self.num_classes = list(classes), len(classes)
        self.labels = None if dataset.labels is None else self.new[dataset.labels]
        self.paths = dataset.paths

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, index: int) -> dict[str, Any]:
        sample = self.dataset.load(index)
        return {**sample, "label": int(self.new[sample["label"]])}


def match_classes(dataset: Dataset, names: Sequence[str] | None, where: str) -> Dataset:
    """The dataset with the labels of a model trained on classes of these names.

    Where either side has no names there is nothing to match, and labels are taken as they are.

    Args:
        dataset: the images.
        names: of the training classes, in label order.
        where: what to call the dataset in messages.

    Raises:
        DataError: the dataset has classes that training did not have, or names that stand for two classes.
    """
    own = dataset.classes
    if names is None or own is None or list(own) == list(names):
        return dataset
    label = {name: number for number, name in enumerate(names)}
    extra = [name for name in own if name not in label]
    if extra:
        none = len(extra) == len(own)
        hint = f"; none of its {len(own)} classes is: is its root one folder too high or too low?" if none else ""
        raise DataError(
            f"{where}: its classes {_some(extra)} are not among the {len(names)} classes of training ({_some(names)}){hint}"
        )
    if len(label) < len(names) or len(set(own)) < len(own):
        raise DataError(f"{where}: its classes differ from training's and some share a name: they cannot be matched")
    missing = [name for name in names if name not in set(own)]
    if missing:
        log.warning(
            "%s: no images of %d of the %d training classes: %s", where, len(missing), len(names), _some(missing)
        )
    return Relabelled(dataset, [label[name] for name in own], names)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(map(str, names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
