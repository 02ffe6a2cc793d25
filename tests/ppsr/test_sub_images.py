"""Test sets and sub-images: folders, counts, where windows and labels lie, orientations, determinism."""

import numpy as np
import pytest
from PIL import Image

from ppcore.data import EvalBatchSampler, EvalLoader, Photographs, TrainBatchSampler, TrainLoader
from ppcore.data.datasets.dataset import Dataset
from ppcore.data.images.matlab_resize import imresize
from ppcore.data.images.ycbcr import y_of
from ppcore.errors import ConfigError, DataError
from ppsr import DegradedImages, ImagesOf, RandomPatch, SubImages
from ppsr.degrade import degrade, smaller_copy
from ppsr.sr_protocols import Making


class Given(Dataset):
    """Photographs of noise."""

    def __init__(self, *sizes, dtype=np.uint8):
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (*size, 3)).astype(dtype) for size in sizes]

    def __len__(self):
        return len(self.images)

    def load(self, index):
        return {"image": self.images[index]}


@pytest.fixture
def folder(tmp_path):
    """A test set with low-resolution copies in a folder inside it, one file grey."""
    rng = np.random.default_rng(0)
    (tmp_path / "Set2" / "LR_x2").mkdir(parents=True)
    for name, shape in (("b.png", (31, 40, 3)), ("a.png", (24, 30)), ("LR_x2/a.png", (12, 15))):
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / "Set2" / name)
    return tmp_path


class TestTestSets:
    def test_a_folder_without_those_inside_it(self, folder, monkeypatch):
        images = ImagesOf(root=str(folder), folder="Set2")
        assert [images.load(i)["image"].shape for i in range(len(images))] == [(24, 30), (31, 40, 3)]
        assert len(ImagesOf(root=str(folder), folder="Set2", exclude=["b"])) == 1
        assert len(ImagesOf(root=str(folder), folder="Set2", split=[1, 2])) == 1
        monkeypatch.setenv("PP_DATA_DIR", str(folder))
        assert len(ImagesOf(folder="Set2/LR_x2")) == 1
        with pytest.raises(DataError, match="folders inside it alone"):
            ImagesOf(folder="")
        with pytest.raises(DataError, match="Set9"):
            ImagesOf(folder="Set9")

    @pytest.mark.parametrize(
        ("given", "shape"), [("bicubic", (1, 30, 39)), ("lr", (1, 10, 13)), ("lr_rgb", (3, 10, 13))]
    )
    def test_inputs(self, folder, given, shape):
        images = DegradedImages(
            source=ImagesOf(root=str(folder), folder="Set2"), scale=3, input=given, protocol="lr_u8"
        )
        sample = images.load(1)
        assert (sample["image"].shape, sample["image"].dtype) == (shape, np.float32)
        assert sample["target"].shape == (shape[0], 30, 39)
        assert (sample["scale"], sample["path"][-5:]) == (3, "b.png")
        assert images.load(1)["image"] is sample["image"]  # made once

    def test_grey_photographs(self, folder):
        source = ImagesOf(root=str(folder), folder="Set2")
        grey = source.load(0)["image"]
        np.testing.assert_array_equal(
            DegradedImages(source=source, scale=3).load(0)["target"][0], grey / np.float32(255)
        )
        low = DegradedImages(source=source, scale=3, input="lr_rgb", protocol="lr_u8").load(0)["image"]
        np.testing.assert_array_equal(low, np.stack([imresize(grey, 1 / 3)] * 3) / np.float32(255))

    def test_low_resolution_from_y_and_from_colours(self):
        image = Photographs(split="test").load(0)["image"]
        y = y_of(image[:300, :450], y8=True)
        low, reference = degrade(image, 3, Making(), "lr")
        np.testing.assert_array_equal(reference[0], np.float32(y))
        np.testing.assert_array_equal(low[0], np.float32(imresize(y, 1 / 3, border="replicate")))
        low, _ = degrade(image, 3, Making(y8=False, shrunk="rgb"), "lr")
        np.testing.assert_array_equal(low[0], np.float32(y_of(imresize(image[:300, :450], 1 / 3, border="replicate"))))
        clipped, _ = degrade(image, 3, Making(clip16=True))
        free, _ = degrade(image, 3, Making())
        np.testing.assert_array_equal(clipped, free.clip(16 / 255, 235 / 255).astype("float32"))

    def test_what_is_refused(self):
        with pytest.raises(ConfigError, match="lr_u8"):
            DegradedImages(source=Given((9, 9)), scale=3, input="lr_rgb")
        with pytest.raises(ConfigError, match="2 or more"):
            DegradedImages(source=Given((9, 9)), scale=1)
        with pytest.raises(DataError, match="cannot be shrunk by 4"):
            DegradedImages(source=Given((3, 9)), scale=4).load(0)
        with pytest.raises(DataError, match="uint16"):
            DegradedImages(source=Given((9, 9), dtype=np.uint16), scale=3).load(0)

    def test_through_the_loader(self):
        images = DegradedImages(source=Photographs(split="test"), scale=4, input="lr")
        batches = list(EvalLoader(images, [], EvalBatchSampler(3, 1)))
        assert [b["image"].shape for b in batches] == [(1, 1, 75, 112), (1, 1, 100, 150), (1, 1, 106, 160)]
        assert {b["protocol"].item() for b in batches} == {Making().fingerprint}


class TestSubImages:
    def test_t91_has_the_papers_number(self, real_data):
        if not (real_data / "sr" / "T91").is_dir():
            pytest.skip(f"no sr/T91 in {real_data}: set PP_DATA_DIR")
        source = ImagesOf(root=str(real_data), folder="sr/T91")
        assert len(source) == 91
        assert len(SubImages(source=source, scale=3, size=33, stride=14, label=21)) == 21884

    def test_windows_and_labels_are_where_they_should_be(self):
        source = Given((40, 52))
        images = SubImages(source=source, scale=3, size=12, stride=5, label=6)
        bicubic, reference = degrade(source.images[0], 3, Making())
        assert len(images) == 6 * 8  # of 39x51
        sample = images.load(8 + 2)
        np.testing.assert_array_equal(sample["image"], bicubic[:, 5:17, 10:22])
        np.testing.assert_array_equal(sample["target"], reference[:, 8:14, 13:19])
        last = images.load(47)
        np.testing.assert_array_equal(last["image"], bicubic[:, 25:37, 35:47])

    @pytest.mark.parametrize(
        ("scale", "size", "label", "label_at", "first"), [(2, 10, 19, 0, 0), (3, 7, 19, None, 1), (4, 6, 21, 0, 0)]
    )
    def test_labels_of_low_resolution_windows(self, scale, size, label, label_at, first):
        source = Given((60, 60))
        arguments = dict(size=size, stride=3, label=label, label_at=label_at)
        images = SubImages(source=source, scale=scale, input="lr", **arguments)
        low, reference = degrade(source.images[0], scale, Making(), "lr")
        sample = images.load(1)
        np.testing.assert_array_equal(sample["image"], low[:, :size, 3 : 3 + size])
        left = 3 * scale + first
        np.testing.assert_array_equal(sample["target"], reference[:, first : first + label, left : left + label])

    def test_twenty_of_each_photograph(self):
        source = Given((60, 60))
        scales, turns = (1, 0.9, 0.8, 0.7, 0.6), (0, 90, 180, 270)
        images = SubImages(source=source, scale=3, size=7, stride=7, input="lr", scales=scales, rotations=turns)
        sides = [int(np.ceil(60 * s)) // 3 for s in scales]
        assert len(images) == 4 * sum((side // 7) ** 2 for side in sides)
        shrunk = smaller_copy(source.images[0], 0.9, Making())
        assert shrunk.shape == (54, 54, 3)
        np.testing.assert_array_equal(images.load(4 * 4)["image"], degrade(shrunk, 3, Making(), "lr").image[:, :7, :7])

    def test_turning_a_window_is_turning_the_photograph(self):
        source = Given((42, 42))
        turned = Given((42, 42))
        turned.images = [np.rot90(source.images[0]).copy()]
        arguments = dict(scale=3, size=7, stride=7, input="lr", label=19)
        mine = SubImages(source=source, rotations=[90], **arguments)
        theirs = SubImages(source=turned, **arguments)
        found = {name: sorted(mine.load(i)[name].tobytes() for i in range(4)) for name in ("target",)}
        assert found["target"] == sorted(theirs.load(i)["target"].tobytes() for i in range(4))
        for index, other in ((0, 2), (1, 0), (2, 3), (3, 1)):
            np.testing.assert_allclose(mine.load(index)["image"], theirs.load(other)["image"], atol=1e-6)

    def test_all_eight_orientations(self):
        images = SubImages(source=Given((24, 24)), scale=2, size=8, stride=8, rotations=[0, 90, 180, 270], flips=True)
        plain = SubImages(source=Given((24, 24)), scale=2, size=8, stride=8)
        assert len(images) == 8 * len(plain) == 72
        eight = [images.load(8 + i) for i in range(8)]
        window = plain.load(1)["target"][0]
        expected = [np.rot90(window, q) for q in range(4)] + [np.rot90(window, q)[:, ::-1] for q in range(4)]
        for sample, target in zip(eight, expected, strict=True):
            np.testing.assert_array_equal(sample["target"][0], target)
        assert len({sample["image"].tobytes() for sample in eight}) == 8

    def test_several_scales_together(self):
        images = SubImages(source=Given((60, 60), (30, 100)), scale=[2, 3, 4], size=20, stride=20)
        assert len(images) == 3 * 9 + 5 + 4 + 5  # 30x100 has 30x100, 30x99 and 28x100 left
        shapes = {images.load(i)["image"].shape for i in range(len(images))}
        assert shapes == {(1, 20, 20)}

    def test_small_photographs_have_no_windows(self):
        images = SubImages(source=Given((60, 60), (10, 10)), scale=3, size=20, stride=20)
        assert len(images) == 9
        with pytest.raises(DataError, match="no photograph is large enough"):
            SubImages(source=Given((10, 10)), scale=3, size=20, stride=20)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"scale": [2, 3], "input": "lr"}, "several with input bicubic"),
            ({"size": 0}, "1 or more"),
            ({"label": 9, "label_at": 5}, "inside the window's 12 pixels"),
            ({"label": 13}, "inside the window's 12 pixels"),
            ({"scales": [1.5]}, "within 0..1"),
            ({"rotations": [45]}, "0, 90, 180 and 270"),
            ({"rotations": [0, 0]}, "each once"),
            ({"input": "lr_rgb"}, "lr_u8"),
        ],
    )
    def test_what_is_refused(self, arguments, match):
        with pytest.raises(ConfigError, match=match) as error:
            SubImages(**{"source": Given((40, 40)), "scale": 3, "size": 12, "stride": 5, **arguments})
        assert "\n" not in str(error.value)

    def test_batches_are_the_same_every_time(self):
        def batches():
            source = Photographs(split="test")
            images = SubImages(source=source, scale=3, size=7, stride=9, input="lr", label=19, rotations=[0, 90])
            return list(TrainLoader(images, [], [], 5, TrainBatchSampler(len(images), 16, 5, 0, 3, 0, 1, 1, 1)))

        for one, other in zip(batches(), batches(), strict=True):
            assert (one["image"].shape, one["target"].shape) == ((16, 1, 7, 7), (16, 1, 19, 19))
            assert all(np.array_equal(one[name], other[name]) for name in one)


class TestRandomPatch:
    def test_the_two_windows_belong_together(self):
        sample = {"image": np.arange(12 * 15.0).reshape(1, 12, 15)}
        sample["target"] = np.kron(sample["image"], np.ones((1, 3, 3)))
        seen = set()
        for seed in range(40):
            patch = RandomPatch(size=5)(sample, np.random.default_rng(seed))
            np.testing.assert_array_equal(patch["target"], np.kron(patch["image"], np.ones((1, 3, 3))))
            assert patch["image"].shape == (1, 5, 5)
            seen.add((patch["image"].min(), patch["image"][0, 0, 0] < patch["image"][0, -1, -1]))
        assert len(seen) > 25
        patch = RandomPatch(size=5, turn=False)(sample, np.random.default_rng(0))["image"][0]
        assert (np.diff(patch, axis=1) == 1).all()

    def test_what_is_refused(self):
        sample = {"image": np.zeros((1, 8, 8)), "target": np.zeros((1, 16, 17)), "path": "a.png"}
        with pytest.raises(DataError, match=r"a\.png"):
            RandomPatch(size=4)(sample, np.random.default_rng(0))
        with pytest.raises(DataError, match="no window of 9"):
            RandomPatch(size=9)({**sample, "target": sample["image"]}, np.random.default_rng(0))
        with pytest.raises(ConfigError, match="1 or more"):
            RandomPatch(size=0)
