"""The loaders: the same bits whatever the workers, errors as one line, nothing left behind."""

import glob
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import ppcore.data.workers as workers
from ppcore.data import (
    Digits,
    EvalBatchSampler,
    EvalLoader,
    Mixup,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    TrainBatchSampler,
    TrainLoader,
)
from ppcore.errors import ConfigError, DataError

DIGITS = Digits("test")
NORMALIZE = Normalize([0.5] * 3, [0.5] * 3)
TRAIN = [RandomResizedCrop(12), RandomHorizontalFlip(), NORMALIZE]


class Troubled:
    """Digits whose load does something else for some indices."""

    classes, num_classes = DIGITS.classes, 10

    def __init__(self, **troubles):
        self.troubles = {index: name for name, indices in troubles.items() for index in indices}

    def __len__(self):
        return len(DIGITS)

    def load(self, index):
        trouble = self.troubles.get(index)
        if trouble == "unreadable":
            raise DataError(f"cannot decode image {index}.jpg: truncated")
        if trouble == "bug":
            raise KeyError("a bug in load")
        if trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        sample = DIGITS.load(index)
        if trouble == "small":
            sample["image"] = sample["image"][:4]
        return sample


def train(num_workers=0, start=0, stop=9, dataset=DIGITS, transforms=TRAIN, batch=80, seed=5, **options):
    stream_options = {name: options.pop(name) for name in ("rank", "world", "accumulate", "repeats") if name in options}
    stream = TrainBatchSampler(len(dataset), batch, seed, start, stop, **stream_options)
    mixup = [Mixup(num_classes=10)]
    return TrainLoader(
        dataset, transforms, options.pop("batch_transforms", mixup), seed, stream, num_workers, **options
    )


def evaluate(num_workers=0, dataset=DIGITS, transforms=(NORMALIZE,), size=100, **options):
    return EvalLoader(dataset, transforms, EvalBatchSampler(len(dataset), size), num_workers, **options)


def children():
    found = set()
    for path in glob.glob("/proc/self/task/*/children"):
        with open(path) as file:
            found |= {int(pid) for pid in file.read().split()}
    return found


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert type(a[name]) is type(b[name]) is np.ndarray
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


@pytest.fixture(scope="module")
def reference():
    return list(train())


def test_batch(reference):
    batch = reference[0]
    assert {name: (value.dtype.name, value.shape) for name, value in batch.items()} == {
        "image": ("float32", (80, 3, 12, 12)),
        "label": ("int64", (80,)),
        "index": ("int64", (80,)),
        "target": ("float32", (80, 10)),
    }
    np.testing.assert_array_equal(batch["label"], DIGITS.labels[batch["index"]])


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 5])
def test_same_bits_for_any_workers_and_restart(reference, num_workers, start):
    assert_equal(list(train(num_workers, start)), reference[start:])


def test_seeds_epochs_and_copies_differ(reference):
    other = list(train(seed=6))
    assert not np.array_equal(other[0]["image"], reference[0]["image"])
    plain = {"batch_transforms": [], "batch": 360}
    first, second = train(stop=2, **plain)
    order = [np.argsort(batch["index"]) for batch in (first, second)]
    same = (first["image"][order[0]] == second["image"][order[1]]).all(axis=(1, 2, 3))
    assert same.mean() < 0.05  # another augmentation in the next epoch
    copies = next(iter(train(batch=9, stop=1, repeats=3, batch_transforms=[])))
    assert len(set(copies["index"])) == 3
    assert len(np.unique(copies["image"], axis=0)) > 6


def test_processes_and_accumulation_see_the_same_samples(reference):
    plain = list(train(batch_transforms=[]))
    for options in ({"world": 2}, {"accumulate": 2}, {"world": 2, "accumulate": 2}):
        world, parts = options.get("world", 1), options.get("accumulate", 1)
        loaders = [list(train(batch_transforms=[], rank=rank, **options)) for rank in range(world)]
        for step, whole in enumerate(plain):
            pieces = [part[step * parts + micro] for part in loaders for micro in range(parts)]
            assert {len(piece["index"]) for piece in pieces} == {80 // world // parts}
            joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in whole}
            order, expected = np.argsort(joined["index"]), np.argsort(whole["index"])
            assert_equal([{n: v[order] for n, v in joined.items()}], [{n: v[expected] for n, v in whole.items()}])


def test_batch_transforms_depend_on_step_micro_and_rank():
    def draw(batch, rng):
        return {**batch, "draw": rng.random(1)}

    drawn = [
        float(batch["draw"][0])
        for rank in (0, 1)
        for batch in train(stop=3, accumulate=2, rank=rank, world=2, batch_transforms=[draw])
    ]
    assert len(set(drawn)) == 12
    again = [
        float(b["draw"][0]) for b in train(start=1, stop=3, accumulate=2, rank=1, world=2, batch_transforms=[draw])
    ]
    assert again == drawn[8:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation(num_workers):
    loader = evaluate(num_workers)
    assert len(loader) == 4
    for _ in range(2):
        batches = list(loader)
        assert [len(batch["label"]) for batch in batches] == [100, 100, 100, 60]
        np.testing.assert_array_equal(np.concatenate([batch["index"] for batch in batches]), np.arange(360))
        images = np.concatenate([batch["image"] for batch in batches])
        np.testing.assert_array_equal(images[7], NORMALIZE(DIGITS.images[7]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_raises(num_workers):
    loader = evaluate(num_workers, Troubled(unreadable=[150]))
    iterator = iter(loader)
    assert len(next(iterator)["label"]) == 100
    with pytest.raises(DataError) as error:
        next(iterator)
    assert str(error.value) == "cannot decode image 150.jpg: truncated"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_skipped_and_counted(num_workers):
    dataset = Troubled(unreadable=[3, 110, *range(200, 300)])
    loader = evaluate(num_workers, dataset, unreadable="skip")
    for _ in range(2):  # counted anew each time
        batches = list(loader)
        assert [len(batch["label"]) for batch in batches] == [99, 99, 60]
        assert loader.skipped == 102
        assert len(loader.skipped_messages) == 20
        assert loader.skipped_messages[0] == "cannot decode image 3.jpg: truncated"
        assert set(range(360)) - set(np.concatenate([b["index"] for b in batches])) == set(dataset.troubles)
    training = train(num_workers, dataset=dataset, unreadable="skip", stop=8)
    batches = list(training)
    assert len(batches) == 8
    assert sum(len(b["image"]) for b in batches) + training.skipped == 640
    assert training.skipped > 100
    assert all(len(batch["target"]) == len(batch["image"]) for batch in batches)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_whole_training_batch_unreadable(num_workers):
    loader = train(num_workers, dataset=Troubled(unreadable=range(360)), unreadable="skip")
    with pytest.raises(DataError, match="no image of step 0 could be read; the last error: cannot decode"):
        next(iter(loader))


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_other_errors_keep_their_kind(num_workers, policy):
    def first(dataset=DIGITS, transforms=(NORMALIZE,)):
        return next(iter(evaluate(num_workers, dataset, transforms, unreadable=policy)))

    with pytest.raises(DataError, match=r"RandomCrop: an image of 8x8 .* \(at image 0\)"):
        first(transforms=[RandomCrop(9), NORMALIZE])
    with pytest.raises(DataError, match=r"differ in size \(\(3, 4, 8\), \(3, 8, 8\)\)"):
        first(Troubled(small=[5]))
    with pytest.raises(ConfigError, match="end them with Normalize"):
        first(transforms=[RandomCrop(8)])
    with pytest.raises(ConfigError, match="images have 3 channels"):
        first(transforms=[Normalize([0.5], [0.5])])
    with pytest.raises(RuntimeError, match=r"(?s)a dataset or transform failed.*test_loader.*a bug in load"):
        first(Troubled(bug=[5]))


class Speck:
    """Puts one random value somewhere into a normalised image, and says so."""

    def __call__(self, image, rng):
        assert image.dtype == np.float32
        image = image.copy()
        image[0, rng.integers(8), rng.integers(8)] = 100 + rng.random()
        return image


class TestAfterNormalize:
    """Random transforms behind Normalize run in this process, so that workers hand over bytes."""

    def batches(self, num_workers=0, specks=2, **options):
        transforms = [NORMALIZE, *(Speck() for _ in range(specks))]
        return list(train(num_workers, transforms=transforms, batch_transforms=[], **options))

    def test_the_same_bits_whatever_the_workers_and_after_a_restart(self):
        want = self.batches()
        for other in (self.batches(1), self.batches(2), want[:4] + self.batches(start=4)):
            for a, b in zip(want, other, strict=True):
                assert a.keys() == b.keys() == {"image", "label", "index"}
                np.testing.assert_array_equal(a["image"], b["image"])

    def test_every_image_has_its_own_draws(self):
        plain = self.batches(specks=0)
        seen = []
        for a, b in zip(plain, self.batches(), strict=True):
            changed = a["image"] != b["image"]
            assert set(changed.sum((1, 2, 3))) <= {1, 2}
            seen += b["image"][changed].tolist()
        assert len(seen) > 9 * 80
        assert len(set(seen)) > 0.99 * len(seen)  # float32 has 131,072 values between 100 and 101

    def test_unreadable_images_take_their_draws_with_them(self):
        whole = self.batches()
        lossy = self.batches(1, dataset=Troubled(unreadable=[7, 99]), unreadable="skip")
        for a, b in zip(whole, lossy, strict=True):
            kept = np.isin(a["index"], [7, 99], invert=True)
            np.testing.assert_array_equal(a["image"][kept], b["image"])


def test_on_sample_transforms():
    class Both:
        on_sample = True

        def __call__(self, sample, rng):
            return {**sample, "target_image": NORMALIZE(sample["image"]), "weight": 0.5}

    for num_workers in (0, 1):
        batch = next(iter(evaluate(num_workers, transforms=[Both(), NORMALIZE])))
        np.testing.assert_array_equal(batch["target_image"], batch["image"])
        assert batch["weight"].dtype == np.float32
        assert "path" not in batch


def test_killed_worker_is_an_error_not_a_hang():
    started = time.monotonic()
    with pytest.raises(DataError, match=r"a data worker died \(killed by SIGKILL\).*num_workers") as error:
        list(evaluate(2, Troubled(die=[250])))
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 3


def test_killed_while_the_main_process_works():
    before = children()
    iterator = iter(train(2, stop=1000, batch=360))
    next(iterator)
    for worker in children() - before:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(DataError, match="a data worker died"):
        list(iterator)
    assert not children() - before


def test_worker_that_exits():
    class Exits(Troubled):
        def load(self, index):
            os._exit(3) if index == 120 else None
            return super().load(index)

    with pytest.raises(DataError, match="exit status 3"):
        list(evaluate(1, Exits()))


@pytest.mark.parametrize("how", ["close", "drop", "end", "error"])
def test_nothing_is_left_behind(how):
    before, files = children(), set(os.listdir("/proc/self/fd"))
    dataset = Troubled(unreadable=[355]) if how == "error" else DIGITS
    iterator = iter(evaluate(2, dataset, size=10))
    next(iterator)
    assert len(children() - before) == 2
    if how == "close":
        iterator.close()
    elif how == "end":
        list(iterator)
    elif how == "error":
        with pytest.raises(DataError):
            list(iterator)
    del iterator
    assert children() == before
    assert set(os.listdir("/proc/self/fd")) == files


def test_loaders_closed_half_way_do_not_disturb_the_next():
    threads = threading.active_count()
    for size in range(5, 45, 4):
        iterator = iter(evaluate(2, size=size))
        for _ in range(size % 3 + 1):
            next(iterator)
        iterator.close()
        assert len(list(evaluate(1, size=180))) == 2
    assert threading.active_count() == threads


def test_two_loaders_at_once(reference):
    """Evaluation in the middle of training."""
    batches = []
    for batch in train(2):
        batches.append(batch)
        assert sum(len(b["label"]) for b in evaluate(1)) == 360
    assert_equal(batches, reference)


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_workers_end_with_the_program(end):
    code = (
        "import json, os, signal, sys\n"
        "from ppcore.data import Digits, EvalLoader, EvalBatchSampler, Normalize\n"
        "assert 'paddle' not in sys.modules\n"
        "data = Digits()\n"
        "loader = EvalLoader(data, [Normalize([.5] * 3, [.5] * 3)], EvalBatchSampler(len(data), 10), 2)\n"
        "iterator = iter(loader); next(iterator)\n"
        f"print(open(f'/proc/self/task/{{os.getpid()}}/children').read(), flush=True)\n{end}"
    )
    # The imports take 2 s of a core, and half a minute where ten programs share two cores.
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True, timeout=180
    )
    pids = result.stdout.split()
    assert len(pids) == 2
    assert (result.returncode == 0) == (end == "")
    deadline = time.monotonic() + 40  # an orphan looks for its parent every second, when it gets a core
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_batch_larger_than_its_slot(reference, monkeypatch):
    """Arrays that do not fit the memory guessed from the first sample still arrive."""
    monkeypatch.setattr(workers, "_slot_bytes", lambda reader, stream: 4096)
    assert_equal(list(train(2)), reference)


def test_no_memory(monkeypatch):
    monkeypatch.setattr(workers, "_slot_bytes", lambda reader, stream: 1 << 60)
    with pytest.raises(DataError, match=r"no memory for .* MB of batches"):
        list(evaluate(1))


def test_wrong_arguments():
    for options in ({"num_workers": -1}, {"unreadable": "ignore"}):
        with pytest.raises(ConfigError):
            evaluate(**options)
    with pytest.raises(ConfigError, match="stream is for 10 images, the dataset has 360"):
        EvalLoader(DIGITS, [], EvalBatchSampler(10, 2))
