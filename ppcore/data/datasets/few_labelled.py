"""As many images of each class: the labelled part of a semi-supervised training, or a few-label protocol."""

from typing import Any

import numpy as np

from ppcore.data.datasets.dataset import Dataset
from ppcore.data.ranges import check
from ppcore.errors import ConfigError


class FewLabelled(Dataset):
    """`per_class` images of each class, or a share of them, chosen at random by a seed of their own.

    Args:
        dataset: the images, whose labels are known.
        per_class: images of each class; None: `share` says how many.
        seed: which ones.
        share: of each class's images, rounded, one at least (SimCLR fine-tunes with 0.01 and 0.1 of ImageNet).

    Raises:
        ConfigError: an argument out of its range, both or neither of `per_class` and `share`, labels that are not known
            beforehand, or a class with fewer images.
    """

    def __init__(self, dataset: Dataset, per_class: int | None = None, seed: int = 0, share: float | None = None):
        if (per_class is None) == (share is None):
            raise ConfigError("FewLabelled: give per_class or share, one of both")
        check(per_class is None or per_class >= 1, self, "per_class", per_class, "at least 1")
        check(share is None or 0 < share <= 1, self, "share", share, "above 0 and at most 1")
        check(seed >= 0, self, "seed", seed, "at least 0")
        if dataset.labels is None:
            raise ConfigError(f"FewLabelled: {type(dataset).__name__} does not say beforehand which labels it has")
        labels = np.asarray(dataset.labels)
        self.dataset, self.index = dataset, few_of_each(labels, dataset.num_classes, per_class, seed, share)
        self.labels, self.classes, self.num_classes = labels[self.index], dataset.classes, dataset.num_classes
        self.paths = None if dataset.paths is None else [dataset.paths[int(i)] for i in self.index]

    def __len__(self) -> int:
        return len(self.index)

    def load(self, index: int) -> dict[str, Any]:
        return self.dataset.load(int(self.index[index]))


def few_of_each(
    labels: np.ndarray, classes: int, per_class: int | None, seed: int, share: float | None = None
) -> np.ndarray:
    """Increasing indices of `per_class` of each of the classes, chosen at random, or of a share of each.

    Args:
        labels: int [N].
        classes: number of classes.
        per_class: how many of each; None: by `share`.
        seed: which ones.
        share: of those of a class, rounded, one at least.

    Raises:
        ConfigError: a class has fewer.
    """
    rng, chosen = np.random.default_rng(seed), []
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        count = max(round(share * len(own)), 1) if per_class is None else per_class
        if len(own) < count:
            raise ConfigError(f"class {label} has {len(own)} images, fewer than per_class, {count}")
        chosen.append(rng.choice(own, count, replace=False))
    return np.sort(np.concatenate(chosen))
