"""Batches on their way to the device: the loader's numbers, made ahead by a thread that ends with whoever asks for them."""

import contextlib
import glob
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ppcore.data import ArrayImages, Digits, Mixup, Normalize, RandomErasing, TrainBatchSampler, TrainLoader
from ppcore.engine.feed import Feed
from ppcore.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
IMAGES = ArrayImages(RNG.integers(0, 256, (40, 20, 24, 3), dtype=np.uint8), np.arange(40) % 7, None, 7)
NORMALIZE = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class Broken:
    """IMAGES, some of which cannot be read."""

    classes, num_classes = None, 7

    def __init__(self, *unreadable):
        self.unreadable = unreadable

    def __len__(self):
        return len(IMAGES)

    def load(self, index):
        if index in self.unreadable:
            raise DataError(f"cannot decode image {index}")
        return IMAGES.load(index)


def loader(*, workers=0, after=(), batch=(), steps=6, dataset=IMAGES, **options):
    stream = TrainBatchSampler(len(dataset), 8, 3, options.pop("start", 0), steps)
    normalize = options.pop("normalize", NORMALIZE)
    return TrainLoader(dataset, [normalize, *after], list(batch), 3, stream, workers, **options)


def arrays(batches):
    return [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(ours[name], theirs[name])


def children():
    found = set()
    for path in glob.glob("/proc/self/task/*/children"):
        with contextlib.suppress(FileNotFoundError), open(path) as file:  # a thread that has ended since
            found |= {int(pid) for pid in file.read().split()}
    return found


ERASE = RandomErasing(prob=0.7, count=3)
RECIPES = {
    "bytes": {},
    "erased": {"after": [ERASE]},
    "twice": {"after": [RandomErasing(prob=1.0, mode="rand", area=(0.3, 0.6)), RandomErasing(prob=0.5, mode="const")]},
    "mixup": {"batch": [Mixup(num_classes=7, cutmix_alpha=0.0)]},
    "cutmix": {"batch": [Mixup(num_classes=7, mixup_alpha=0.0, label_smoothing=0.0)]},
    "all": {"after": [ERASE], "batch": [Mixup(num_classes=7, prob=0.8)]},
}


class TestNumbers:
    @pytest.mark.parametrize("recipe", RECIPES)
    @pytest.mark.parametrize("finish", ["host", "device"])
    def test_those_of_the_loader(self, recipe, finish):
        """Bit for bit: on a CPU the device's operators do the same float32 steps."""
        plain = loader(**RECIPES[recipe])
        assert plain.finishable
        wanted = list(plain)
        assert recipe == "bytes" or any((a["image"] != b["image"]).any() for a, b in zip(wanted, loader(), strict=True))
        feed = Feed(loader(**RECIPES[recipe]), "cpu", finish)
        batches = list(feed)
        assert all(tensor.place.is_cpu_place() for batch in batches for tensor in batch.values())
        assert_same(arrays(batches), wanted)

    @pytest.mark.parametrize("finish", ["host", "device"])
    def test_whatever_the_workers_and_after_a_restart(self, finish):
        wanted = list(loader(**RECIPES["all"]))
        for workers in (1, 3):
            found = Feed(loader(workers=workers, start=2, **RECIPES["all"]), "cpu", finish)
            assert_same(arrays(found), wanted[2:])

    @pytest.mark.parametrize("finish", ["host", "device"])
    def test_a_batch_given_stays_as_it_is(self, finish):
        """Though the memory it came through is written again."""
        feed = Feed(loader(workers=1, **RECIPES["all"]), "cpu", finish)
        batches = list(feed)
        assert_same(arrays(batches), list(loader(**RECIPES["all"])))

    def test_skipped_images_are_counted_with_their_batch(self):
        """Not when the thread, which is ahead, leaves them out."""
        broken = loader(dataset=Broken(*range(0, 40, 5)), unreadable="skip", steps=5)
        feed = Feed(broken, "cpu")
        seen = 0
        for number, batch in enumerate(feed, 1):
            seen += batch["image"].shape[0]
            assert feed.skipped == 8 * number - seen
        assert feed.skipped == 8

    def test_a_transform_of_ones_own_runs_on_the_host(self):
        def own(image, rng):
            return image + np.float32(rng.random())

        plain = loader(after=[own])
        assert not plain.finishable
        assert not loader(batch=[lambda batch, rng: batch]).finishable
        feed = Feed(plain, "cpu")
        assert not feed.on_device
        assert_same(arrays(feed), list(loader(after=[own])))


class TestErrors:
    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("finish", ["host", "device"])
    def test_come_in_their_turn(self, workers, finish):
        order = [batch["index"] for batch in loader()]
        bad = int(order[4][3])
        feed = Feed(loader(workers=workers, dataset=Broken(bad)), "cpu", finish)
        for wanted in order[:4]:
            np.testing.assert_array_equal(next(feed)["index"].numpy(), wanted)
        with pytest.raises(DataError, match=f"cannot decode image {bad}"):
            next(feed)
        with pytest.raises(StopIteration):
            next(feed)

    @pytest.mark.parametrize("finish", ["host", "device"])
    def test_are_the_same_wherever_a_batch_is_finished(self, finish):
        with pytest.raises(DataError, match="label 6 is out of range for 5 classes"):
            list(Feed(loader(batch=[Mixup(num_classes=5)]), "cpu", finish))
        with pytest.raises(ConfigError, match="images have 3 channels"):
            list(Feed(loader(normalize=Normalize([0.5], [0.5])), "cpu", finish))
        with pytest.raises(DataError, match="no image of step 0 could be read; the last error: cannot decode"):
            list(Feed(loader(dataset=Broken(*range(40)), unreadable="skip"), "cpu", finish))

    def test_a_killed_worker_is_one(self):
        before = children()
        feed = Feed(loader(workers=2, steps=1000), "cpu")
        next(feed)
        for worker in children() - before:
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(DataError, match="a data worker died"):
            list(feed)


class Slow:
    """IMAGES that take long: `seconds` each."""

    classes, num_classes = None, 7

    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return len(IMAGES)

    def load(self, index):
        time.sleep(self.seconds)
        return IMAGES.load(index)


class TestEnd:
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("how", ["close", "unused", "drop", "end", "error"])
    def test_nothing_is_left_behind(self, how, workers):
        before, files, threads = children(), set(os.listdir("/proc/self/fd")), threading.active_count()
        broken = Broken(17) if how == "error" else IMAGES
        feed = Feed(loader(workers=workers, dataset=broken, steps=30), "cpu")
        if how != "unused":
            next(feed)
            assert threading.active_count() == threads + 1
            assert len(children() - before) == workers
        if how == "close":
            feed.close()
            feed.close()
        elif how == "end":
            list(feed)
        elif how == "error":
            with pytest.raises(DataError):
                list(feed)
        del feed
        assert threading.active_count() == threads
        assert children() == before
        assert set(os.listdir("/proc/self/fd")) == files

    @pytest.mark.parametrize("workers", [0, 1])
    def test_closing_does_not_wait_for_a_batch(self, workers):
        feed = Feed(loader(workers=workers, dataset=Slow(0.1), steps=30), "cpu")
        next(feed)  # the thread is now in the middle of the next, which takes 0.8 s
        began = time.monotonic()
        feed.close()
        assert time.monotonic() - began < 0.6

    def test_no_more_than_two_batches_wait(self):
        made = []

        def note(batch, rng):
            made.append(len(made))
            return batch

        feed = Feed(loader(batch=[note], steps=30), "cpu")
        next(feed)
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(made) == 3
        feed.close()

    def test_processes_forked_beside_the_thread_find_no_lock_held(self):
        """Evaluation's workers, while this process decodes the next training batch."""
        feed = Feed(loader(steps=40), "cpu")
        for _ in range(40):
            next(feed)
            assert len(list(loader(workers=2, steps=2))) == 2

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize(
        ("end", "status"),
        [("", 0), ("raise SystemExit(5)", 5), ("1 / 0", 1), ("os.kill(os.getpid(), 2); time.sleep(9)", -2)],
    )
    def test_the_program_ends(self, root, workers, end, status):
        """Also when nobody closes anything, in the middle of a batch, and on Ctrl-C."""
        code = (
            "import os, sys, time\n"
            "from ppcore.data import Digits, Normalize, TrainBatchSampler, TrainLoader\n"
            "from ppcore.engine.feed import Feed\n"
            "data = Digits()\n"
            "stream = TrainBatchSampler(len(data), 64, 0, 0, 10**6)\n"
            f"feed = Feed(TrainLoader(data, [Normalize([.5] * 3, [.5] * 3)], [], 0, stream, {workers}), 'cpu')\n"
            "for _ in range(3): next(feed)\n"
            f"began = time.monotonic()\n{end}\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], env=environment, timeout=60, capture_output=True
        )
        assert done.returncode == status, done.stderr


def test_the_loops_thread_is_spared():
    """128 images of 224 x 224, normalised, erased and mixed: at most 10 ms of the loop's own time a batch."""
    images = ArrayImages(RNG.integers(0, 256, (128, 224, 224, 3), dtype=np.uint8), np.arange(128) % 10, None, 10)
    stream = TrainBatchSampler(128, 128, 0, 0, 6)
    recipe = [NORMALIZE, RandomErasing()], [Mixup(num_classes=10)]
    feed = Feed(TrainLoader(images, *recipe, 0, stream), "cpu")
    next(feed)
    spent = []
    for _ in range(5):
        began = time.thread_time()
        next(feed)
        spent.append(time.thread_time() - began)
    assert np.median(spent) < 0.010


def test_digits_are_fed_as_they_are():
    data = Digits("test")
    stream = TrainBatchSampler(len(data), 100, 0, 0, 3)
    batches = arrays(Feed(TrainLoader(data, [NORMALIZE], [], 0, stream), "cpu", "device"))
    for batch in batches:
        np.testing.assert_array_equal(batch["image"][5], NORMALIZE(data.images[batch["index"][5]]))
