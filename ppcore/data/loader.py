"""Batches of numpy arrays from a dataset, made in this process or in workers.

The batches depend on seed and position alone: 0, 1 or many workers and a restart at any step
give the same bits.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Literal

import numpy as np

from ppcore.data.datasets.dataset import Dataset
from ppcore.data.reader import AFTER, SampleReader, collate, split_failures
from ppcore.data.rng import batch_rng
from ppcore.data.samplers import BatchSampler, EvalBatchSampler, TrainBatchSampler
from ppcore.data.threads import threaded_batches
from ppcore.data.transforms.mixup import Mixup
from ppcore.data.transforms.normalize import Normalize, channels_first
from ppcore.data.transforms.random_erasing import RandomErasing
from ppcore.data.transforms.transform import apply_all, takes_sample
from ppcore.data.unfinished import Unfinished, erasures
from ppcore.data.workers import making, worker_batches
from ppcore.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]


class _Loader:
    """What training and evaluation share.

    Args:
        dataset: the images.
        transforms: a sample's, applied in the workers.
        seed: of the run, for the transforms.
        stream: which images.
        num_workers: processes; 0 loads in this one,
        threads: in so many threads, ahead of what is used; 0 when it is asked for.
        unreadable: whether an unreadable image is an error or is left out of its batch.

    Attributes:
        skipped: how many images were left out so far, of an evaluation in its current or last iteration.
        skipped_messages: the errors of the first 20 of them.
        stopping: set to end an iteration from another thread.

    Raises:
        DataError: while iterating: an image is unreadable, or a worker died.
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        seed: int,
        stream: BatchSampler,
        num_workers: int,
        unreadable: Literal["raise", "skip"],
        threads: int = 0,
    ):
        if num_workers < 0 or unreadable not in ("raise", "skip"):
            raise ConfigError(f"num_workers {num_workers} or unreadable {unreadable!r} (raise, skip) is not possible")
        if stream.num_images != len(dataset):
            raise ConfigError(f"the stream is for {stream.num_images} images, the dataset has {len(dataset)}")
        self.dataset = dataset
        self.stream = stream
        self.num_workers, self.threads = num_workers, threads
        self.unreadable: Literal["raise", "skip"] = unreadable
        self.skipped = 0
        self.skipped_messages: list[str] = []
        self.stopping = threading.Event()
        # Normalize runs here on whole batches, and what follows it (DeiT's random erasing) after it, so
        # that workers hand over bytes: a quarter of what float32 takes.
        first, self._normalize, self._after = _split(transforms)
        self._reader = SampleReader(dataset, first, seed, goes_on=bool(self._after))

    def __len__(self) -> int:
        """Number of batches that the stream asks for."""
        return len(self.stream)

    def _own(self, batch: Batch) -> Batch:
        """A batch that is not in a worker's memory, its images normalized."""
        seeds = batch.pop(AFTER, ())
        own = {name: array.copy() for name, array in batch.items() if name != "image" or not self._normalize}
        if self._normalize and batch:
            images = self._normalize.batch(batch["image"])
            if self._after:
                images = np.stack([self._finish(image, seed) for image, seed in zip(images, seeds, strict=True)])
            own = {"image": images, **own}
        if "image" in own and own["image"].dtype != np.float32:
            raise ConfigError("the transforms leave images as uint8: end them with Normalize")
        return own

    def _finish(self, image: np.ndarray, seed: np.int64) -> np.ndarray:
        """What follows Normalize, on one image."""
        return apply_all(self._after, {"image": image}, np.random.default_rng(int(seed)))["image"]

    def _collated(self) -> Iterator[Batch]:
        """The stream's batches as a worker makes them; one may have lost images, or be empty, when they are skipped."""
        if self.num_workers:
            raw = worker_batches(self._reader, self.stream, self.num_workers, self.stopping)
        elif self.threads:
            raw = threaded_batches(self._reader, self.stream, self.threads)
        else:
            raw = self._made_here()
        with closing(raw):  # not left to the garbage collector: a traceback may keep this frame
            for batch in raw:
                messages = split_failures(batch, self.unreadable)
                self.skipped += len(messages)
                self.skipped_messages += messages[: max(0, 20 - len(self.skipped_messages))]
                yield batch

    def _made_here(self) -> Iterator[Batch]:
        for keys in self.stream:
            samples = []
            for key in keys:
                if self.stopping.is_set():
                    return
                with making:
                    samples.append(self._reader[key])
            yield collate(samples)

    def _batches(self) -> Iterator[Batch]:
        """The stream's batches, finished but for batch transforms."""
        with closing(self._collated()) as batches:
            for batch in batches:
                yield self._own(batch)


def _split(transforms: Sequence[Callable]) -> tuple[list[Callable], Normalize | None, list[Callable]]:
    """What the workers do, the Normalize after it, and what follows; without a Normalize the workers do all."""
    kinds = [isinstance(transform, Normalize) for transform in transforms]
    if sum(kinds) != 1 or any(map(takes_sample, transforms[kinds.index(True) :])):
        return list(transforms), None, []
    place = kinds.index(True)
    return [*transforms[:place], channels_first], transforms[place], list(transforms[place + 1 :])


class TrainLoader(_Loader):
    """Training micro-batches in the stream's order, through one set of workers for the whole run.

    Iterate once. Closing the iterator (or dropping it) ends the workers.

    Arguments, attributes and errors are those of `_Loader`, besides:

    Args:
        batch_transforms: applied to each micro-batch in this process, `t(batch, rng) -> batch`,
            with a generator of its own (seed, step, micro-batch, rank).

    Raises:
        DataError: while iterating: none of the images of a batch could be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        batch_transforms: Sequence[Callable],
        seed: int,
        stream: TrainBatchSampler,
        num_workers: int = 0,
        unreadable: Literal["raise", "skip"] = "raise",
    ):
        super().__init__(dataset, transforms, seed, stream, num_workers, unreadable)
        self.batch_transforms = list(batch_transforms)
        self.seed = seed

    def __iter__(self) -> Iterator[Batch]:
        for batch, rng in self._numbered(self._batches()):
            for transform in self.batch_transforms:
                batch = transform(batch, rng)
            yield batch

    @property
    def finishable(self) -> bool:
        """Whether `unfinished` is possible: after Normalize there are only RandomErasing and one Mixup at most."""
        return (
            self._normalize is not None
            and all(type(transform) is RandomErasing for transform in self._after)
            and [type(transform) for transform in self.batch_transforms] in ([], [Mixup])
        )

    def unfinished(self) -> Iterator[Unfinished]:
        """The batches that iterating gives, as bytes and with what is left to do to them drawn, for a device to do.

        Their arrays are views valid until the next batch is asked for.
        """
        for batch, rng in self._numbered(self._collated()):
            seeds = batch.pop(AFTER, ())
            shape = batch["image"].shape
            self._normalize.check(shape[1])
            boxes = erasures(shape, self._after, seeds) if self._after else []
            mixup = self.batch_transforms[0] if self.batch_transforms else None
            if mixup is not None:
                mixup.check(batch)
            mix = mixup.draw(*shape[-2:], rng) if mixup is not None else None
            yield Unfinished(batch, self._normalize, boxes, mixup, mix)

    def _numbered(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, np.random.Generator]]:
        """Batches, each with the generator of its batch transforms; closes the iterator at the end."""
        first, parts = self.stream.start_step, self.stream.accumulate
        with closing(batches):
            for position, batch in enumerate(batches):
                step, micro = first + position // parts, position % parts
                if not batch:  # no sample: the step could not be counted
                    last = self.skipped_messages[-1]
                    raise DataError(f"no image of step {step} could be read; the last error: {last}")
                yield batch, batch_rng(self.seed, step, micro, self.stream.rank)


class EvalLoader(_Loader):
    """Every image of the stream once. Each iteration starts workers of its own.

    Arguments, attributes and errors are those of `_Loader`; evaluation's transforms normally do not use `seed`.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Callable],
        stream: EvalBatchSampler,
        num_workers: int = 0,
        unreadable: Literal["raise", "skip"] = "raise",
        seed: int = 0,
        threads: int = 0,
    ):
        super().__init__(dataset, transforms, seed, stream, num_workers, unreadable, threads)

    def __iter__(self) -> Iterator[Batch]:
        self.skipped, self.skipped_messages = 0, []
        with closing(self._batches()) as batches:
            for batch in batches:
                if batch:
                    yield batch
