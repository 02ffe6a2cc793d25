"""Batches of several training loaders in one step, such as labelled images beside unlabelled ones."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing

import numpy as np

from ppcore.data.loader import TrainLoader


class SideBySide:
    """The batches of a loader, each with one of every other beside it, whose arrays are called `name.array`.

    Each loader has its own order, epochs and batch size; the step is common to all. Iterate once; closing the iterator ends
    the workers of all.

    Args:
        main: the loader whose epochs count.
        others: by name.

    Attributes:
        stopping: set to end an iteration from another thread.
        finishable: False: batches are finished on the host.
    """

    finishable = False

    def __init__(self, main: TrainLoader, others: Mapping[str, TrainLoader]):
        self.main, self.others = main, dict(others)
        self.stopping = main.stopping
        for loader in self.others.values():
            loader.stopping = self.stopping

    @property
    def skipped(self) -> int:
        """Images that were left out so far, of all loaders."""
        return self.main.skipped + sum(loader.skipped for loader in self.others.values())

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        with ExitStack() as stack:
            own = stack.enter_context(closing(iter(self.main)))
            beside = {name: stack.enter_context(closing(iter(loader))) for name, loader in self.others.items()}
            for batch in own:
                made = dict(batch)
                for name, batches in beside.items():
                    other = next(batches, None)
                    if other is None:  # stopped from another thread
                        return
                    made |= {f"{name}.{array}": values for array, values in other.items()}
                yield made
