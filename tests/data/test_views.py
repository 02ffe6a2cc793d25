"""Views: their shapes, the same bits whatever the workers, batches without image or label, and errors of one line."""

import numpy as np
import pytest

from ppcore.config import components
from ppcore.data import (
    Dataset,
    Digits,
    EvalBatchSampler,
    EvalLoader,
    Mixup,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    TrainBatchSampler,
    TrainLoader,
    Views,
)
from ppcore.errors import ConfigError, DataError

DIGITS = Digits("test", image_size=32)
NORMALIZE = {"name": "ppcore.data.Normalize", "mean": [0.5] * 3, "std": [0.5] * 3}


def crop(size):
    return {"name": "ppcore.data.RandomResizedCrop", "size": size}


def node(**views):
    return {"name": "ppcore.data.Views", "views": views}


TWO_SIZES = node(
    **{
        "global": {"count": 2, "transforms": {"crop": crop(24), "flip": None, "normalize": NORMALIZE}},
        "local": {"count": 3, "transforms": {"crop": crop(8), "normalize": NORMALIZE}},
    }
)


def batches(num_workers=0, start=0, views=TWO_SIZES, before=(), dataset=DIGITS, **options):
    stream = TrainBatchSampler(len(dataset), 40, 5, start, 6)
    return list(TrainLoader(dataset, [*before, components.build(views)], [], 5, stream, num_workers, **options))


def assert_equal(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_shapes():
    batch = batches()[0]
    assert {name: (value.dtype.name, value.shape) for name, value in batch.items()} == {
        "global": ("float32", (40, 2, 3, 24, 24)),
        "local": ("float32", (40, 3, 3, 8, 8)),
        "label": ("int64", (40,)),
        "index": ("int64", (40,)),
    }


@pytest.mark.parametrize("num_workers", [1, 2])
def test_same_bits_for_any_workers_and_restart(num_workers):
    whole = batches()
    assert_equal(batches(num_workers), whole)
    assert_equal(batches(num_workers, start=4), whole[4:])


def test_every_view_has_draws_of_its_own():
    views = np.concatenate([batch["global"] for batch in batches()])  # [N, 2, 3, 24, 24]
    same = (views[:, 0] == views[:, 1]).all(axis=(1, 2, 3))
    assert same.mean() < 0.05
    assert len(np.unique(views.reshape(-1, 3 * 24 * 24), axis=0)) > 0.9 * 2 * len(views)


def test_views_are_the_transforms_in_turn():
    sample = {"image": DIGITS.images[3], "label": 3, "path": None}
    made = components.build(TWO_SIZES)(sample, np.random.default_rng(7))
    rng, normalize = np.random.default_rng(7), Normalize([0.5] * 3, [0.5] * 3)
    for name, size, count in (("global", 24, 2), ("local", 8, 3)):
        expected = [normalize(RandomResizedCrop(size)(sample["image"], rng)) for _ in range(count)]
        np.testing.assert_array_equal(made[name], np.stack(expected))
    assert made.keys() == {"label", "path", "global", "local"}
    assert "global" not in sample


def test_a_view_may_be_called_image_and_transforms_may_come_before():
    one = node(image={"transforms": {"crop": crop(8), "normalize": NORMALIZE}})
    batch = batches(views=one, before=[RandomHorizontalFlip(1.0)])[0]
    assert batch["image"].shape == (40, 1, 3, 8, 8)
    sample = {"image": DIGITS.images[0]}
    plain = Views({"image": {"transforms": {"normalize": Normalize([0.5] * 3, [0.5] * 3)}}})(sample, None)
    np.testing.assert_array_equal(plain["image"][0], Normalize([0.5] * 3, [0.5] * 3)(sample["image"]))


class Unlabelled(Dataset):
    """Images without labels, of which some cannot be read, and arrays of their own."""

    def __init__(self, unreadable=()):
        self.unreadable = unreadable

    def __len__(self):
        return len(DIGITS)

    def load(self, index):
        if index in self.unreadable:
            raise DataError(f"cannot decode image {index}")
        return {"image": DIGITS.images[index], "caption": np.full(5, index, np.int32)}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_neither_image_nor_label_is_needed(num_workers):
    lost = batches(num_workers, dataset=Unlabelled(range(0, 360, 2)), unreadable="skip")
    whole = batches(num_workers, dataset=Unlabelled())
    for some, batch in zip(lost, whole, strict=True):
        assert some.keys() == batch.keys() == {"global", "local", "caption", "index"}
        np.testing.assert_array_equal(batch["caption"], np.repeat(batch["index"][:, None], 5, axis=1))
        np.testing.assert_array_equal(some["local"], batch["local"][batch["index"] % 2 == 1])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_without_a_sample(num_workers):
    dataset = Unlabelled(range(100, 200))
    loader = EvalLoader(dataset, [components.build(TWO_SIZES)], EvalBatchSampler(360, 100), num_workers, "skip")
    assert [len(batch["index"]) for batch in loader] == [100, 100, 60]
    assert loader.skipped == 100
    with pytest.raises(DataError, match="no image of step 0 could be read; the last error: cannot decode image"):
        batches(num_workers, dataset=Unlabelled(range(360)), unreadable="skip")


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (node(a={"cuont": 2, "transforms": {}}), r"T\.views\.a: unknown key 'cuont' \(did you mean 'count'\?\)"),
        (node(a={"count": 2}), r"T\.views\.a: needs the key 'transforms'"),
        (node(a={"count": "2", "transforms": {}}), r"T\.views\.a\.count: input should be a valid integer, got '2'"),
        (node(a=3), r"T\.views\.a: expected a mapping of components, got 3"),
        (node(a={"transforms": [NORMALIZE]}), r"T\.views\.a\.transforms: expected a mapping of components, got \["),
        (node(a={"transforms": {"n": {**NORMALIZE, "men": 1}}}), r"transforms\.n\.men: .* has no argument 'men'"),
        (node(a={"transforms": {"n": {"name": "ppcore.data.Mixup"}}}), r"n: 'ppcore.data.Mixup' is not a transform"),
        ({"name": "ppcore.data.Views"}, "needs the argument 'views'"),
        ({"name": "ppcore.data.Views", "views": 3}, r"T\.views: expected a mapping of components, got 3"),
    ],
)
def test_a_wrong_configuration(views, message):
    with pytest.raises(ConfigError, match=f"^recipe.yaml: .*{message}") as error:
        components.check(views, "recipe.yaml: T")
    assert "\n" not in str(error.value)


def test_wrong_arguments():
    components.check(TWO_SIZES, "recipe.yaml: T")
    for views, message in (
        ({}, "at least one view"),
        ({"a": {"count": 0, "transforms": {"n": 1}}}, r"views\.a\.count is 0"),
        ({"a": {"transforms": {"n": None}}}, r"views\.a\.transforms"),
    ):
        with pytest.raises(ConfigError, match=f"^Views: .*{message}"):
            Views(views)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_wrong_when_called(num_workers):
    flip = {"name": "ppcore.data.RandomHorizontalFlip"}
    for views, kind, message in (
        (node(a={"transforms": {"flip": flip}}), ConfigError, "Views: the transforms leave a as uint8"),
        (node(label={"transforms": {"n": NORMALIZE}}), ConfigError, "name is 'label', but must be another"),
    ):
        with pytest.raises(kind, match=rf"{message}.* \(at image \d+\)") as error:
            batches(num_workers, views=views)
        assert "\n" not in str(error.value)
    first, second = (node(**{name: {"transforms": {"n": NORMALIZE}}}) for name in "ab")
    with pytest.raises(ConfigError, match="Normalize: the samples have no image here, only label, path, index, a"):
        batches(num_workers, views=second, before=[components.build(first)])


def test_what_differs_in_size():
    class Shrinking:
        def __call__(self, image, rng):
            return image[: rng.integers(4, 30)]

    views = Views({"a": {"count": 9, "transforms": {"s": Shrinking(), "n": Normalize([0.5] * 3, [0.5] * 3)}}})
    with pytest.raises(DataError, match=r"^Views: a differ in size \(\(3, \d+, 32\), .*fixed-size crop$"):
        views(DIGITS.load(0), np.random.default_rng(0))


def test_mixup_says_what_it_lacks():
    with pytest.raises(ConfigError, match=r"^Mixup: the batches have no image and no label, only global"):
        Mixup(num_classes=3)({"global": np.zeros((2, 2, 3, 8, 8))}, np.random.default_rng(0))
