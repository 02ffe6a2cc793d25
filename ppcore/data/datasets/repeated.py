"""A small data set as if it were a large one."""

from typing import Any

import numpy as np

from ppcore.data.datasets.dataset import Dataset
from ppcore.data.ranges import check


class Repeated(Dataset):
    """Every image several times, each time with draws of its own: for batches as large as the data set, or larger.

    Args:
        dataset: the images.
        times: how often each is there.

    Raises:
        ConfigError: `times` is below 1.
    """

    def __init__(self, dataset: Dataset, times: int):
        check(times >= 1, self, "times", times, "at least 1")
        self.dataset, self.times = dataset, times
        self.classes, self.num_classes = dataset.classes, dataset.num_classes
        self.labels = None if dataset.labels is None else np.tile(dataset.labels, times)
        self.paths = dataset.paths

    def __len__(self) -> int:
        return self.times * len(self.dataset)

    def load(self, index: int) -> dict[str, Any]:
        return self.dataset.load(index % len(self.dataset))
