"""Loaders side by side: the same bits whatever the workers and after a restart; repeated images; their errors."""

import numpy as np
import pytest

from ppcore.data import (
    Digits,
    FewLabelled,
    Normalize,
    RandomHorizontalFlip,
    Repeated,
    SideBySide,
    TrainBatchSampler,
    TrainLoader,
)
from ppcore.engine.feed import Feed
from ppcore.errors import ConfigError, DataError

MANY = Digits("train")
FEW = FewLabelled(MANY, per_class=1)
STEPS = 7


def loader(images, size, seed, start=0, workers=0):
    stream = TrainBatchSampler(len(images), size, seed, start, STEPS)
    steps = [RandomHorizontalFlip(), Normalize([0.5] * 3, [0.5] * 3)]
    return TrainLoader(images, steps, [], seed, stream, workers)


def together(start=0, workers=0):
    few = Repeated(FEW, 4)
    return SideBySide(loader(MANY, 24, 1, start, workers), {"labelled": loader(few, 16, 2, start, workers)})


def test_each_step_has_a_batch_of_each():
    batches = list(together())
    assert len(batches) == STEPS
    for batch, own, other in zip(batches, loader(MANY, 24, 1), loader(Repeated(FEW, 4), 16, 2), strict=True):
        assert set(batch) == {*own, *(f"labelled.{name}" for name in other)}
        for name in own:
            np.testing.assert_array_equal(batch[name], own[name])
        for name in other:
            np.testing.assert_array_equal(batch[f"labelled.{name}"], other[name])


@pytest.mark.parametrize("workers", [0, 1])
def test_restarts_at_any_step(workers):
    whole = list(together())[4:]
    for batch, want in zip(together(start=4, workers=workers), whole, strict=True):
        assert batch.keys() == want.keys()
        for name in want:
            np.testing.assert_array_equal(batch[name], want[name])


def test_through_the_feed():
    feed = Feed(together(), "cpu")
    shapes = [(batch["image"].shape[0], batch["labelled.label"].shape[0]) for batch in feed]
    assert shapes == [(24, 16)] * STEPS
    feed.close()


def test_closing_early_ends_all():
    feed = Feed(together(workers=1), "cpu")
    assert next(feed)["labelled.image"].shape[0] == 16
    feed.close()
    with pytest.raises(StopIteration):
        next(feed)


def test_skipped_images_of_all_are_counted():
    class Broken(Digits):
        def load(self, index):
            if index == 3:
                raise DataError("image 3 is broken")
            return super().load(index)

    broken = Broken("train", limit=10)
    stream = TrainBatchSampler(10, 10, 0, 0, STEPS)
    beside = TrainLoader(broken, [Normalize([0.5] * 3, [0.5] * 3)], [], 0, stream, 0, "skip")
    both = SideBySide(loader(MANY, 24, 1), {"few": beside})
    assert [len(batch["few.image"]) for batch in both] == [9] * STEPS
    assert both.skipped == STEPS


def test_every_image_as_often_in_an_epoch():
    few = Repeated(FEW, 4)
    assert len(few) == 40
    assert few.num_classes == 10
    seen = np.concatenate([batch["label"] for batch in loader(few, 40, 0)][:1])
    np.testing.assert_array_equal(np.bincount(seen), np.full(10, 4))
    np.testing.assert_array_equal(few.labels, [few.load(i)["label"] for i in range(40)])
    np.testing.assert_array_equal(few.load(23)["image"], FEW.load(3)["image"])


def test_not_less_than_once():
    with pytest.raises(ConfigError, match="times"):
        Repeated(FEW, 0)


class TestFewLabelled:
    @pytest.mark.parametrize("count", [1, 4, 25])
    def test_as_many_of_each_class(self, count):
        few = FewLabelled(MANY, count, seed=3)
        np.testing.assert_array_equal(np.bincount(few.labels), np.full(10, count))
        np.testing.assert_array_equal(few.labels, [few.load(i)["label"] for i in range(len(few))])
        assert len({few.load(i)["image"].tobytes() for i in range(len(few))}) == len(few)

    def test_the_seed_chooses(self):
        one, same, other = (FewLabelled(MANY, 4, seed).index for seed in (0, 0, 1))
        np.testing.assert_array_equal(one, same)
        assert len(np.intersect1d(one, other)) < 10

    @pytest.mark.parametrize("share", [0.1, 0.001, 1.0])
    def test_a_share_of_each_class(self, share):
        few = FewLabelled(MANY, share=share, seed=3)
        counts = np.bincount(few.labels, minlength=10)
        np.testing.assert_array_equal(counts, np.maximum(np.round(share * np.bincount(MANY.labels)), 1))

    @pytest.mark.parametrize("given", [{}, {"per_class": 1, "share": 0.1}, {"share": 0.0}, {"share": 1.1}])
    def test_one_of_both(self, given):
        with pytest.raises(ConfigError, match="share"):
            FewLabelled(MANY, **given)

    def test_too_few(self):
        with pytest.raises(ConfigError, match="class 8 has 139 images, fewer than per_class, 140"):
            FewLabelled(MANY, 140)

    def test_labels_unknown(self):
        class Silent(Digits):
            labels = None

            def __init__(self):
                self.num_classes = 10

        with pytest.raises(ConfigError, match="Silent does not say beforehand"):
            FewLabelled(Silent(), 1)
