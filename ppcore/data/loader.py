"""Batches of numpy arrays from a dataset, made in this process or in workers.

The batches depend on seed and position alone: 0, 1 or many workers and a restart at any step
give the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Literal

import numpy as np

from ppcore.data.dataset import Dataset
from ppcore.data.reader import SampleReader, collate, split_failures
from ppcore.data.rng import batch_rng
from ppcore.data.samplers import EvalStream, TrainStream
from ppcore.data.transforms.normalize import Normalize, channels_first
from ppcore.data.workers import worker_batches
from ppcore.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]


class _Loader:
    """What training and evaluation share; `skipped` counts the images left out."""

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        seed: int,
        stream: TrainStream | EvalStream,
        num_workers: int,
        unreadable: Literal["raise", "skip"],
    ):
        if num_workers < 0 or unreadable not in ("raise", "skip"):
            raise ConfigError(f"num_workers {num_workers} or unreadable {unreadable!r} (raise, skip) is not possible")
        if stream.num_images != len(dataset):
            raise ConfigError(f"the stream is for {stream.num_images} images, the dataset has {len(dataset)}")
        self.dataset = dataset
        self.stream = stream
        self.num_workers = num_workers
        self.unreadable: Literal["raise", "skip"] = unreadable
        self.skipped = 0
        self.skipped_messages: list[str] = []
        # A final Normalize runs here on whole batches, so that workers hand over bytes.
        transforms = list(transforms)
        self._normalize = transforms.pop() if transforms and isinstance(transforms[-1], Normalize) else None
        if self._normalize:
            transforms.append(channels_first)
        self._reader = SampleReader(dataset, transforms, seed)

    def __len__(self) -> int:
        """Number of batches that the stream asks for."""
        return len(self.stream)

    def _own(self, name: str, array: np.ndarray) -> np.ndarray:
        """An array that is not in a worker's memory; for the image, the normalized one."""
        if name == "image" and self._normalize:
            return self._normalize.batch(array)
        if name == "image" and array.dtype != np.float32:
            raise ConfigError("the transforms leave images as uint8: end them with Normalize")
        return array.copy()

    def _batches(self) -> Iterator[Batch]:
        """The stream's batches; one may have lost images, or be empty, when they are skipped."""
        if self.num_workers:
            raw = worker_batches(self._reader, self.stream, self.num_workers)
        else:
            raw = (collate([self._reader[key] for key in keys]) for keys in self.stream)
        with closing(raw):  # not left to the garbage collector: a traceback may keep this frame
            for batch in raw:
                messages = split_failures(batch, self.unreadable)
                self.skipped += len(messages)
                self.skipped_messages += messages[: max(0, 20 - len(self.skipped_messages))]
                yield {name: self._own(name, array) for name, array in batch.items()}


class TrainLoader(_Loader):
    """Training micro-batches in the stream's order, through one set of workers for the whole run.

    Iterate once. Closing the iterator (or dropping it) ends the workers.

    Args:
        dataset: the images.
        transforms: a sample's, applied in the workers.
        batch_transforms: applied to each micro-batch in this process, `t(batch, rng) -> batch`,
            with a generator of its own (seed, step, micro-batch, rank).
        seed: of the run.
        stream: which images.
        num_workers: processes; 0 loads in this one.
        unreadable: whether an unreadable image ends the run or is left out of its batch.

    Attributes:
        skipped: how often an image was left out so far.
        skipped_messages: the errors of the first 20 of them.

    Raises:
        DataError: while iterating: an image is unreadable, or all of a batch's are, or a worker died.
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        batch_transforms: Sequence[Callable],
        seed: int,
        stream: TrainStream,
        num_workers: int = 0,
        unreadable: Literal["raise", "skip"] = "raise",
    ):
        super().__init__(dataset, transforms, seed, stream, num_workers, unreadable)
        self.batch_transforms = list(batch_transforms)
        self.seed = seed

    def __iter__(self) -> Iterator[Batch]:
        first, parts = self.stream.start_step, self.stream.accumulate
        with closing(self._batches()) as batches:
            for position, batch in enumerate(batches):
                step, micro = first + position // parts, position % parts
                if "image" not in batch:  # the step could not be counted
                    last = self.skipped_messages[-1]
                    raise DataError(f"no image of step {step} could be read; the last error: {last}")
                rng = batch_rng(self.seed, step, micro, self.stream.rank)
                for transform in self.batch_transforms:
                    batch = transform(batch, rng)
                yield batch


class EvalLoader(_Loader):
    """Every image of the stream once. Each iteration starts workers of its own.

    Args:
        dataset: the images.
        transforms: a sample's, applied in the workers.
        stream: which images.
        num_workers: processes; 0 loads in this one.
        unreadable: whether an unreadable image is an error or is left out.
        seed: for transforms that use their generator; evaluation's normally do not.

    Attributes:
        skipped: how many images the current or last iteration left out.
        skipped_messages: the errors of the first 20 of them.

    Raises:
        DataError: while iterating: an image is unreadable, or a worker died.
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        stream: EvalStream,
        num_workers: int = 0,
        unreadable: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ):
        super().__init__(dataset, transforms, seed, stream, num_workers, unreadable)

    def __iter__(self) -> Iterator[Batch]:
        self.skipped, self.skipped_messages = 0, []
        with closing(self._batches()) as batches:
            for batch in batches:
                if "image" in batch:
                    yield batch
