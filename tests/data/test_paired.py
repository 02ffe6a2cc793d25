"""Folders of pairs, transforms of pairs, photographs in wheels."""

import os
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcore.config.components import build, check
from ppcore.data import (
    EvalBatchSampler,
    EvalLoader,
    FlatFolder,
    ImageFile,
    PairedCenterCrop,
    PairedChannelShuffle,
    PairedFlipRotate,
    PairedFolder,
    PairedRandomCrop,
    PairedResize,
    PairToFloat,
    Photographs,
    TrainBatchSampler,
    TrainLoader,
)
from ppcore.errors import ConfigError, DataError


def save(path, seed=0, size=(24, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def names(dataset):
    return [os.path.basename(dataset.load(i)["path"]) for i in range(len(dataset))]


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("1.png", "10.png", "2.png", "b/a b.png")):
        save(tmp_path / "input" / name, number)
        save(tmp_path / "gt" / name, number + 100)
    return tmp_path


def refused(kind, match, **arguments):
    with pytest.raises(kind, match=match) as error:
        PairedFolder(**{key: str(value) if key == "root" else value for key, value in arguments.items()})
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- folders ----


def test_pairs_by_name(folder):
    (folder / "gt" / "notes.txt").write_text("no image")
    (folder / "gt" / "._1.png").write_bytes(b"another program's")
    dataset = PairedFolder(root=str(folder))
    assert (len(dataset), dataset.classes, dataset.num_classes) == (4, None, 0)
    assert names(dataset) == ["1.png", "10.png", "2.png", "a b.png"]
    for number in range(4):
        sample = dataset.load(number)
        assert isinstance(sample["image"], ImageFile)
        low, reference = Image.open(sample["path"]), Image.open(sample["path"].replace("input", "gt"))
        np.testing.assert_array_equal(sample["image"].read(), low)
        np.testing.assert_array_equal(sample["target"].read(), reference)
    assert len(PairedFolder(root=str(folder), low="gt", high="gt")) == 4


def test_suffixes_may_differ(tmp_path):
    save(tmp_path / "low" / "1.JPG")
    save(tmp_path / "high" / "1.png")
    save(tmp_path / "low" / "2.png")
    save(tmp_path / "high" / "2.png")
    dataset = PairedFolder(root=str(tmp_path), low="low", high="high")
    assert [os.path.basename(dataset.load(i)["target"].path) for i in (0, 1)] == ["1.png", "2.png"]
    save(tmp_path / "high" / "2.bmp")  # 2.png is still the one of the same name
    assert len(PairedFolder(root=str(tmp_path), low="low", high="high", exclude=["1"])) == 1
    save(tmp_path / "high" / "1.bmp")
    refused(DataError, r"1.bmp and .*1.png could both be the reference of 1.JPG", root=tmp_path, low="low", high="high")


def test_split_and_exclude(folder):
    root = str(folder)
    assert names(PairedFolder(root=root, split=[1, 3])) == ["10.png", "2.png"]
    assert names(PairedFolder(root=root, exclude=["10"], split=[0, 2])) == ["1.png", "2.png"]
    assert names(PairedFolder(root=root, exclude=["b/a b.png", "1.png"])) == ["10.png", "2.png"]
    for split in ([0, 5], [2, 2], [-1, 2], [1]):
        refused(ConfigError, r"\[start, stop\] within 0..4", root=root, split=split)
    refused(ConfigError, r"no image 'b/ab.png' \(did you mean 'b/a b.png'\?\)", root=root, exclude=["b/ab.png"])
    refused(DataError, "leaves no image of 4", root=root, exclude=["1", "2", "10", "b/a b"])


def test_missing_partners(folder):
    save(folder / "input" / "3.png")
    save(folder / "input" / "4.png")
    message = refused(DataError, "3.png has no reference", root=folder)
    assert "(nor have 1 others)" in message
    save(folder / "gt" / "5.png")
    root = str(folder)
    refused(DataError, "gt.5.png has no low-light image", root=folder, exclude=["3.png", "4"])
    assert len(PairedFolder(root=root, exclude=["3.png", "4", "5.png"])) == 4


def test_sizes_are_compared(folder):
    save(folder / "gt" / "2.png", size=(24, 31))
    message = refused(DataError, r"2.png is 24x30 .* reference .*2.png is 24x31", root=folder)
    assert os.path.join("gt", "2.png") in message
    (folder / "gt" / "2.png").write_bytes(b"")
    refused(DataError, "gt.2.png: the file is empty", root=folder)
    assert len(PairedFolder(root=str(folder), exclude=["2"])) == 3


def test_folders_that_are_not_there(folder, monkeypatch):
    refused(DataError, "lq does not exist", root=folder, low="lq")
    (folder / "empty").mkdir()
    refused(DataError, "empty holds no image", root=folder, high="empty")
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    refused(DataError, "PP_DATA_DIR")
    monkeypatch.setenv("PP_DATA_DIR", str(folder))
    assert len(PairedFolder()) == 4


def test_list_file(folder):
    path = folder / "pairs.txt"
    path.write_text("2.png\n\nb/a b.png\ninput/1.png gt/10.png\ninput/b/a b.png\tgt/b/a b.png\n", encoding="utf-8")
    dataset = PairedFolder(root=str(folder), list=str(path))
    found = [dataset.load(i) for i in range(len(dataset))]
    pairs = [tuple(os.path.relpath(s[k].path, folder) for k in ("image", "target")) for s in found]
    assert pairs == [
        ("input/2.png", "gt/2.png"),
        ("input/b/a b.png", "gt/b/a b.png"),
        ("input/1.png", "gt/10.png"),
        ("input/b/a b.png", "gt/b/a b.png"),
    ]
    assert len(PairedFolder(root=str(folder), list=str(path), split=[1, 3])) == 2
    assert len(PairedFolder(root=str(folder), list=str(path), exclude=["2.png"])) == 3


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1.png\n7.png\n", "line 2: .*7.png does not exist"),
        ("input/1.png gt/7.png\n", "line 1: .*7.png does not exist"),
        ("a b c.png\n", "is not two paths"),
        ("\n", "names no image"),
    ],
)
def test_bad_list_files(folder, text, match):
    path = folder / "pairs.txt"
    path.write_text(text)
    refused(DataError, match, root=folder, list=str(path))


def test_list_without_reference(folder):
    (folder / "gt" / "2.png").unlink()
    (folder / "pairs.txt").write_text("2.png")
    refused(DataError, "the reference of '2.png' in .*gt does not exist", root=folder, list=str(folder / "pairs.txt"))


def test_flat_folder(folder):
    dataset = FlatFolder(root=str(folder / "gt"), split=[1, 3], exclude=["1.png"])
    assert names(dataset) == ["2.png", "a b.png"]
    assert dataset.load(0)["image"].shape == (24, 30)


def test_real_pairs(real_data):
    root = str(real_data / "lowlight_paired")
    train = PairedFolder(root=root, low="low", high="high", split=[0, 40])
    test = PairedFolder(root=root, low="low", high="high", split=[40, 56])
    assert (len(train), len(test)) == (40, 16)
    assert len(PairedFolder(root=root, low="low", high="high")) == 56
    assert not set(names(train)) & set(names(test))
    sample = test.load(15)
    assert sample["image"].read().mean() < sample["target"].read().mean()


# ---- transforms ----


def coordinates(height, width, dtype=np.uint8):
    """Two images that are equal where they show the same place, so that a shift between them is seen."""
    rows, columns = np.mgrid[:height, :width]
    image = np.dstack([rows, columns, rows * 0 + 7]).astype(dtype)
    return {"image": image, "target": image + 1, "path": "x.png"}


@settings(max_examples=60)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 99)
)
def test_crops_are_the_same_window(rows, columns, height, width, random, seed):
    crop = (PairedRandomCrop if random else PairedCenterCrop)(size=[height, width])
    rng = np.random.default_rng(seed)
    if height > rows or width > columns:
        with pytest.raises(DataError, match=f"x.png of {rows}x{columns} is smaller than the crop of {height}x{width}"):
            crop(coordinates(rows, columns), rng)
        crop = type(crop)(size=[height, width], pad=True)
    out = crop(coordinates(rows, columns), rng)
    assert out["image"].shape == (height, width, 3)
    np.testing.assert_array_equal(out["image"] + 1, out["target"])
    top, left = out["image"][0, 0, :2]
    inside = out["image"][: rows - top, : columns - left]
    np.testing.assert_array_equal(inside[:, :, 0], (np.arange(len(inside)) + top)[:, None] + 0 * inside[:, :, 0])


def test_random_crops_reach_every_place():
    crop, rng = PairedRandomCrop(size=2), np.random.default_rng(0)
    seen = {tuple(crop(coordinates(4, 5), rng)["image"][0, 0, :2]) for _ in range(300)}
    assert seen == {(row, column) for row in range(3) for column in range(4)}


def test_a_crop_reads_only_its_window():
    class Handle:
        shape, windows = (100, 200), []

        def read(self, window=None):
            self.windows.append(window)
            return np.zeros((*window[2:], 3), np.uint8)

    low, reference = Handle(), Handle()
    PairedRandomCrop(size=16)({"image": low, "target": reference}, np.random.default_rng(0))
    first, second = Handle.windows
    assert first == second
    assert first[2:] == (16, 16)


def test_flip_rotate_square():
    flip, rng = PairedFlipRotate(vflip=0.5), np.random.default_rng(0)
    source = coordinates(3, 3)
    group = {}
    for _ in range(400):
        out = flip(source, rng)
        np.testing.assert_array_equal(out["image"] + 1, out["target"])
        group[out["image"].tobytes()] = group.get(out["image"].tobytes(), 0) + 1
        assert sorted(map(tuple, out["image"].reshape(-1, 3))) == sorted(map(tuple, source["image"].reshape(-1, 3)))
    assert len(group) == 8  # the symmetries of the square
    assert min(group.values()) > 25


def test_channels_are_put_into_the_same_order_in_both_images():
    shuffle, seen = PairedChannelShuffle(), set()
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    for seed in range(40):
        out = shuffle({"image": image, "target": image + 100, "path": "a"}, np.random.default_rng(seed))
        np.testing.assert_array_equal(out["target"], out["image"] + 100)
        np.testing.assert_array_equal(np.sort(out["image"], axis=2), image)
        seen.add(tuple(out["image"][0, 0].tolist()))
    assert len(seen) == 6


def test_flip_rotate_keeps_the_shape_of_others():
    flip, rng = PairedFlipRotate(hflip=0.0), np.random.default_rng(0)
    source = coordinates(2, 3)
    seen = {flip(source, rng)["image"].tobytes() for _ in range(50)}
    assert seen == {source["image"].tobytes(), source["image"][::-1, ::-1].tobytes()}
    unchanged = PairedFlipRotate(hflip=0.0, rot90=False)
    np.testing.assert_array_equal(unchanged(source, rng)["image"], source["image"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resize(dtype):
    out = PairedResize(size=20)(coordinates(40, 60, dtype))
    assert out["image"].shape == out["target"].shape == (20, 30, 3)
    assert out["image"].dtype == dtype
    assert abs(out["image"][10, 15, 0] - 20.5) <= 1
    assert PairedResize(size=[7, 9])(coordinates(40, 60, dtype))["target"].shape == (7, 9, 3)


def test_pair_to_float():
    sample = coordinates(4, 6)
    sample["image"] = sample["image"].astype(np.uint16) * 257
    sample["image"][0, 0] = [65535, 1, 0]
    out = PairToFloat()(sample)
    assert out["image"].shape == out["target"].shape == (3, 4, 6)
    assert out["image"].dtype == out["target"].dtype == np.float32
    assert out["image"][:, 0, 0].tolist() == [1.0, np.float32(1 / 65535), 0.0]
    np.testing.assert_array_equal(out["target"], sample["target"].transpose(2, 0, 1) / np.float32(255))
    with pytest.raises(ConfigError, match="apply it once, and last"):
        PairToFloat()({**out, "image": out["image"].transpose(1, 2, 0), "target": sample["target"]})


def test_samples_that_are_no_pairs():
    image = np.zeros((4, 4, 3), np.uint8)
    for transform in (PairedRandomCrop(size=2), PairedCenterCrop(size=2), PairedFlipRotate(), PairToFloat()):
        with pytest.raises(ConfigError, match="samples have no target"):
            transform({"image": image, "label": 3}, np.random.default_rng(0))
        with pytest.raises(DataError, match=r"x\.png is 4x4, but its reference is 3x4"):
            transform({"image": image, "target": image[1:], "path": "x.png"}, np.random.default_rng(0))


def test_bad_arguments():
    for wrong in (0, [3, 0], [1, 2, 3]):
        with pytest.raises(ConfigError, match="size is"):
            PairedRandomCrop(size=wrong)
    with pytest.raises(ConfigError, match="hflip is 2"):
        PairedFlipRotate(hflip=2.0)
    with pytest.raises(ConfigError, match="interpolation is"):
        PairedResize(size=3, interpolation="cubic")


# ---- through the loaders and from configurations ----


def components(folder):
    return {"name": "ppcore.data.PairedFolder", "root": str(folder), "split": [0, 4]}, [
        {"name": "ppcore.data.PairedRandomCrop", "size": 16},
        {"name": "ppcore.data.PairedFlipRotate", "vflip": 0.5},
        {"name": "ppcore.data.PairToFloat"},
    ]


def test_loaders(folder):
    dataset, transforms = components(folder)
    for node in (dataset, *transforms):
        check(node, "Train")
    dataset, transforms = build(dataset), [build(node) for node in transforms]
    batches = {}
    for workers in (0, 2):
        loader = TrainLoader(dataset, transforms, [], 3, TrainBatchSampler(4, 2, 3, total_steps=3), workers)
        batches[workers] = list(loader)
    assert len(batches[0]) == 3
    for one, other in zip(batches[0], batches[2], strict=True):
        assert one["image"].shape == one["target"].shape == (2, 3, 16, 16)
        for name in ("image", "target", "index"):
            np.testing.assert_array_equal(one[name], other[name])
    whole = list(EvalLoader(dataset, [PairToFloat()], EvalBatchSampler(4, 1)))
    np.testing.assert_array_equal(whole[2]["target"][0] * 255, dataset.load(2)["target"].read().transpose(2, 0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_may_be_skipped(folder, workers):
    path = folder / "gt" / "10.png"
    dataset = PairedFolder(root=str(folder))
    path.write_bytes(path.read_bytes()[:-200])
    loader = EvalLoader(dataset, [PairToFloat()], EvalBatchSampler(4, 2), workers, "skip")
    assert sum(len(batch["index"]) for batch in loader) == 3
    assert loader.skipped == 1
    assert str(path) in loader.skipped_messages[0]
    with pytest.raises(DataError, match=r"10.png"):
        list(EvalLoader(dataset, [PairToFloat()], EvalBatchSampler(4, 2), workers))


def test_a_cached_folder_gives_the_same(folder, tmp_path):
    plain = PairedFolder(root=str(folder))
    cached = PairedFolder(root=str(folder), cache=str(tmp_path / "cache"))
    for _ in range(2):
        for number in range(4):
            for name in ("image", "target"):
                np.testing.assert_array_equal(plain.load(number)[name].read(), cached.load(number)[name].read())
    assert len(os.listdir(tmp_path / "cache")) == 8


# ---- photographs ----


def test_photographs_need_no_network(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("network"))
    train, test = Photographs(split="train"), Photographs(split="test")
    assert (len(train), len(test), len(Photographs())) == (5, 3, 8)
    assert not {os.path.basename(path) for path in train.paths} & {os.path.basename(path) for path in test.paths}
    for dataset in (train, test):
        for number in range(len(dataset)):
            image = dataset.load(number)["image"]
            assert image.dtype == np.uint8
            assert min(image.shape[:2]) >= 300
            assert 50 < image.mean() < 200  # well lit
            assert np.abs(image[:, :, 0].astype(int) - image[:, :, 2]).mean() > 5  # in colour
    with pytest.raises(ConfigError, match="train, test or all"):
        Photographs(split="val")


def test_photographs_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(os.path, "isfile", lambda path: "china" not in path)
    with pytest.raises(DataError, match=r"sklearn is installed without datasets/images/china\.jpg"):
        Photographs()
