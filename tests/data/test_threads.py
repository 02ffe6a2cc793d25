"""Reading ahead in threads gives the batches that reading when asked gives, and ends when it is left."""

import threading
import time

import numpy as np
import pytest

from ppcore.data import CenterCrop, Digits, EvalBatchSampler, EvalLoader, Normalize, RandomCrop
from ppcore.errors import DataError

STEPS = [RandomCrop(8, padding=1), Normalize([0.5] * 3, [0.5] * 3)]


def batches(threads, batch_size=7, steps=STEPS, dataset=None):
    dataset = dataset or Digits(split="test")
    return EvalLoader(dataset, steps, EvalBatchSampler(len(dataset), batch_size), threads=threads, seed=3)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_batches_in_order(threads):
    for found, wanted in zip(batches(threads), batches(0), strict=True):
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_reads_ahead_but_not_without_end():
    made = []

    class Counted(Digits):
        def load(self, index):
            made.append(index)
            return super().load(index)

    loader = iter(batches(1, dataset=Counted(split="test")))
    next(loader)
    deadline = time.monotonic() + 10
    while len(made) < 21 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 21, "one batch in use and two ahead"
    loader.close()


def test_threads_end_with_the_iterator():
    before = threading.active_count()
    loader = iter(batches(2))
    next(loader)
    assert threading.active_count() > before
    loader.close()
    assert threading.active_count() == before


def test_an_unreadable_image_is_said_or_left_out():
    class Holed(Digits):
        def load(self, index):
            if index == 9:
                raise DataError("image 9 is gone")
            return super().load(index)

    images = Holed(split="test")
    with pytest.raises(DataError, match="image 9 is gone"):
        list(batches(2, dataset=images))
    loader = EvalLoader(
        images, [CenterCrop(8), *STEPS[1:]], EvalBatchSampler(len(images), 7), threads=2, unreadable="skip"
    )
    assert sum(len(batch["image"]) for batch in loader) == len(images) - 1
    assert loader.skipped_messages == ["image 9 is gone"]
