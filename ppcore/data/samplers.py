"""Which images make up which batch: pure functions of seed and step, nothing to save.

A key `(epoch, index, copy)` names one sample: an image of the dataset, and which of its random
variants. Streams yield lists of keys, one list a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ppcore.data.rng import order_rng
from ppcore.errors import ConfigError, DataError

Key = tuple[int, int, int]


@dataclass(eq=False)
class TrainBatchSampler:
    """Micro-batches from one step to another, across epochs.

    Each epoch is a new permutation of the images, cut into `num_images // batch_size` batches; the
    remainder is left out (another one each epoch). A batch is first cut into `accumulate`
    micro-batches, and process `rank` takes every `world`-th key of each: all processes together
    train on exactly the batches of one process, and copies of an image go to different processes.

    Resuming is `start_step`. Nothing restarts between epochs.

    Args:
        num_images: size of the dataset.
        batch_size: images in one optimizer step, over all processes and micro-batches.
        seed: not negative.
        start_step: first step to yield.
        total_steps: the step to stop before.
        rank: this process.
        world: number of processes.
        accumulate: micro-batches a step.
        repeats: repeated augmentation (Hoffer et al. 2020; DeiT uses 3): every image stands
            `repeats` times in a row, as copies 0, 1, …, and an epoch, still of `num_images`
            samples, sees `1 / repeats` of the images.

    Raises:
        ConfigError: the batch does not divide, or a number is out of range.
        DataError: the dataset is smaller than one batch.
    """

    num_images: int
    batch_size: int
    seed: int
    start_step: int = 0
    total_steps: int = 1
    rank: int = 0
    world: int = 1
    accumulate: int = 1
    repeats: int = 1

    def __post_init__(self):
        least = min(self.batch_size, self.world, self.accumulate, self.repeats)
        if least < 1 or not 0 <= self.rank < self.world or self.seed < 0:
            raise ConfigError(
                f"cannot sample with batch_size {self.batch_size}, seed {self.seed}, rank {self.rank} of {self.world}, "
                f"accumulate {self.accumulate}, repeats {self.repeats}"
            )
        if self.batch_size % (self.world * self.accumulate):
            parts = f"{self.world} processes x {self.accumulate} accumulation steps"
            raise ConfigError(f"batch_size {self.batch_size} is not divisible by {parts}")
        if not 0 <= self.start_step <= self.total_steps:
            raise ConfigError(f"cannot start at step {self.start_step} of {self.total_steps}")
        if self.batch_size > self.num_images:
            raise DataError(f"batch_size {self.batch_size} is larger than the training set of {self.num_images} images")

    @property
    def steps_per_epoch(self) -> int:
        return self.num_images // self.batch_size

    def __len__(self) -> int:
        """Number of micro-batches."""
        return (self.total_steps - self.start_step) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        micro = self.batch_size // self.accumulate
        order, order_epoch = np.empty(0, np.int64), -1
        for step in range(self.start_step, self.total_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = order_rng(self.seed, epoch).permutation(self.num_images), epoch
            for start in range(position * self.batch_size, (position + 1) * self.batch_size, micro):
                places = range(start + self.rank, start + micro, self.world)
                yield [(epoch, int(order[p // self.repeats]), p % self.repeats) for p in places]


@dataclass(eq=False)
class EvalBatchSampler:
    """Every image once over all processes, none twice; the last batches may be smaller.

    Args:
        num_images: size of the dataset.
        batch_size: images a batch in this process (results do not depend on it).
        rank: this process; takes every `world`-th image.
        world: number of processes.

    Raises:
        ConfigError: a number is out of range.
    """

    num_images: int
    batch_size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self):
        if self.batch_size < 1 or not 0 <= self.rank < self.world:
            raise ConfigError(f"cannot sample with batch_size {self.batch_size}, rank {self.rank} of {self.world}")
        self.indices = range(self.rank, self.num_images, self.world)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index, 0) for index in self.indices[start : start + self.batch_size]]


BatchSampler = TrainBatchSampler | EvalBatchSampler
