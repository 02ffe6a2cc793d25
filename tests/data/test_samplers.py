"""Streams: what is in a batch, over epochs, processes, accumulation and restarts."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcore.data import EvalBatchSampler, TrainBatchSampler
from ppcore.errors import ConfigError, DataError


def joined(batches):
    return list(chain.from_iterable(batches))


def test_epochs_are_permutations():
    stream = TrainBatchSampler(10, 5, seed=3, total_steps=6)
    assert stream.steps_per_epoch == 2
    assert len(stream) == 6
    batches = list(stream)
    epochs = [batches[i] + batches[i + 1] for i in (0, 2, 4)]
    for number, keys in enumerate(epochs):
        assert sorted(keys) == [(number, index, 0) for index in range(10)]
    orders = {tuple(index for _, index, _ in keys) for keys in epochs}
    assert len(orders) == 3
    assert list(TrainBatchSampler(10, 5, seed=4, total_steps=2)) != batches[:2]


def test_remainder_is_left_out_and_changes():
    stream = TrainBatchSampler(11, 4, seed=0, total_steps=40)
    left_out = Counter()
    batches = list(stream)
    for epoch in range(20):
        keys = batches[2 * epoch] + batches[2 * epoch + 1]
        assert {e for e, _, _ in keys} == {epoch}
        assert len(set(keys)) == 8
        left_out.update(set(range(11)) - {index for _, index, _ in keys})
    assert len(left_out) == 11


@settings(max_examples=60)
@given(
    world=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    each=st.integers(1, 3),
    extra=st.integers(0, 20),
    repeats=st.integers(1, 3),
    start=st.integers(0, 12),
    seed=st.integers(0, 2**40),
)
def test_processes_and_restarts_see_the_same_batches(world, accumulate, each, extra, repeats, start, seed):
    size = world * accumulate * each
    common = {"num_images": size + extra, "batch_size": size, "seed": seed, "total_steps": 12, "repeats": repeats}
    whole = list(TrainBatchSampler(accumulate=accumulate, **common))
    assert joined(whole) == joined(TrainBatchSampler(**common))  # accumulation only cuts
    parts = [
        list(TrainBatchSampler(start_step=start, rank=r, world=world, accumulate=accumulate, **common))
        for r in range(world)
    ]
    assert all(len(part) == (12 - start) * accumulate for part in parts)
    for micro, expected in zip(zip(*parts, strict=True), whole[start * accumulate :], strict=True):
        assert all(len(keys) == each for keys in micro)
        assert sorted(joined(micro)) == sorted(expected)


def test_repeats():
    keys = joined(TrainBatchSampler(30, 6, seed=1, total_steps=5, repeats=3))
    assert len(keys) == 30
    assert len(set(keys)) == 30
    counts = Counter(index for _, index, _ in keys)
    assert len(counts) == 10
    assert set(counts.values()) == {3}
    ranks = [joined(TrainBatchSampler(30, 6, seed=1, total_steps=5, repeats=3, rank=r, world=3)) for r in range(3)]
    for part in ranks:  # the copies of an image go to different processes
        assert len({index for _, index, _ in part}) == 10


@settings(max_examples=100)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5))
def test_evaluation_sees_every_image_once(images, size, world):
    streams = [EvalBatchSampler(images, size, rank, world) for rank in range(world)]
    keys = []
    for stream in streams:
        batches = list(stream)
        assert len(batches) == len(stream)
        assert all(1 <= len(batch) <= size for batch in batches)
        keys += joined(batches)
    assert sorted(keys) == [(0, index, 0) for index in range(images)]


@pytest.mark.parametrize(
    "options",
    [
        {"world": 3},
        {"accumulate": 3},
        {"world": 2, "accumulate": 4, "batch_size": 12},
        {"rank": 1},
        {"seed": -1},
        {"start_step": 9},
        {"batch_size": 0},
        {"repeats": 0},
    ],
)
def test_wrong_train_arguments(options):
    with pytest.raises(ConfigError):
        TrainBatchSampler(**{"num_images": 100, "batch_size": 8, "seed": 0, "total_steps": 5, **options})


def test_batch_larger_than_the_dataset():
    with pytest.raises(DataError, match="larger than the training set of 7 images"):
        TrainBatchSampler(7, 8, seed=0)


def test_wrong_eval_arguments():
    for options in ({"batch_size": 0}, {"batch_size": 1, "rank": 2, "world": 2}):
        with pytest.raises(ConfigError):
            EvalBatchSampler(10, **options)
