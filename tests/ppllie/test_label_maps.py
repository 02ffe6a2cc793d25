"""Label maps: from files beside pairs, from the colours, and where the transforms of pairs take them."""

import numpy as np
import pytest
from PIL import Image

from ppcore.config import components
from ppcore.data import (
    PairedChannelShuffle,
    PairedFlipRotate,
    PairedFolder,
    PairedRandomCrop,
    PairedResize,
    PairToFloat,
    TrainBatchSampler,
    TrainLoader,
)
from ppcore.errors import ConfigError, DataError
from ppllie.label_maps import ColourClasses, LabelledPairs

SIZE = (20, 26)


@pytest.fixture
def folder(tmp_path):
    """Two pairs whose red is the row and green the column; the label is (row + 2 · column) % 7."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    image = np.dstack([rows, columns, 0 * rows]).astype(np.uint8)
    for part in ("low", "high", "maps"):
        (tmp_path / part).mkdir()
    for name in ("1", "2"):
        Image.fromarray(image).save(tmp_path / "low" / f"{name}.bmp")
        Image.fromarray(image).save(tmp_path / "high" / f"{name}.bmp")
        labels = Image.fromarray(((rows + 2 * columns) % 7).astype(np.uint8))
        if name == "2":
            labels = labels.convert("P")
            labels.putpalette([200, 3, 5] * 256)  # colours do not matter
        labels.save(tmp_path / "maps" / f"{name}.png")
    return tmp_path


def labelled(folder):
    pairs = {"name": "ppcore.data.PairedFolder", "root": str(folder), "low": "low", "high": "high"}
    node = {"name": f"{LabelledPairs.__module__}.LabelledPairs", "pairs": pairs, "root": str(folder), "maps": "maps"}
    components.check(node, "DataLoader.Train.dataset")
    return components.build(node)


def belongs(sample):
    """Whether each label is that of the pixel it stands at."""
    image = sample["target"].astype(int)
    return np.array_equal(sample["label_map"], (image[..., 0] + 2 * image[..., 1]) % 7)


def test_labels_go_where_their_pixels_go(folder):
    dataset = labelled(folder)
    assert len(dataset) == 2
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = dataset.load(seed % 2)
        for step in (PairedRandomCrop(size=[9, 9]), PairedFlipRotate(hflip=0.5, vflip=0.5)):
            sample = step(sample, rng)
            assert belongs(sample)
        before = sample["label_map"].copy()
        for step in (PairedChannelShuffle(), PairToFloat()):
            sample = step(sample, rng)
        np.testing.assert_array_equal(sample["label_map"], before)
        assert sample["label_map"].dtype == np.uint8


def test_small_images_are_mirrored_with_their_labels(folder):
    sample = PairedRandomCrop(size=[24, 30], pad=True)(labelled(folder).load(0), np.random.default_rng(0))
    assert sample["label_map"].shape == (24, 30)
    assert belongs(sample)


def test_labels_are_never_mixed_by_resizing(folder):
    sample = labelled(folder).load(0)
    sample["label_map"] = np.where(np.arange(SIZE[1]) < 13, 3, 250).astype(np.uint8) + np.zeros((SIZE[0], 1), np.uint8)
    for size, edge in (([10, 13], 6.5), ([40, 52], 26), ([7, 10], 5)):
        resized = PairedResize(size=size)(sample)["label_map"]
        assert resized.shape == tuple(size)
        np.testing.assert_array_equal(resized == 3, np.broadcast_to(np.arange(size[1]) + 0.5 < edge, size))
        assert set(np.unique(resized)) == {3, 250}


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_them(folder, workers):
    stream = TrainBatchSampler(2, 2, 0, total_steps=2)
    steps = [PairedRandomCrop(size=8), ColourClasses(), PairToFloat()]
    for transforms, most in ((steps[::2], 6), (steps, 14)):
        batch = next(iter(TrainLoader(labelled(folder), transforms, [], 0, stream, num_workers=workers)))
        assert batch["label_map"].shape == (2, 8, 8)
        assert batch["label_map"].max() <= most
        assert batch["image"].shape == (2, 3, 8, 8)


def test_bad_maps(folder):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "maps" / "1.png")
    dataset = labelled(folder)
    with pytest.raises(DataError, match=r"1.png is \[5, 5\], but its image .*1.bmp"):
        dataset.load(0)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "maps" / "1.png")
    with pytest.raises(DataError, match="grey or with a palette; this is RGB"):
        dataset.load(0)
    (folder / "maps" / "1.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a label map"):
        dataset.load(0)
    (folder / "maps" / "1.png").unlink()
    with pytest.raises(DataError, match=r"no label map .*1\.png of .*1\.bmp"):
        labelled(folder)


def test_a_map_of_another_size_is_noticed(folder):
    sample = PairedFolder(root=str(folder), low="low", high="high").load(0)
    with pytest.raises(DataError, match="20x26, but its label map is"):
        PairedFlipRotate()({**sample, "label_map": np.zeros((20, 25), np.uint8)}, np.random.default_rng(0))


def test_colours_and_brightness():
    """Three lightnesses, and a grey, a red, a green, a cyan and a violet field of each: one in every quarter of hue."""
    colours = [(1, 1, 1), (1, 0.45, 0.4), (0.5, 0.9, 0.2), (0.2, 0.8, 0.9), (0.6, 0.45, 1)]
    image = np.array([[np.multiply(colour, level) for colour in colours] for level in (40, 120, 250)])
    fields = image.astype(np.uint8).repeat(6, axis=0).repeat(6, axis=1)
    for pixels in (fields, fields.astype(np.uint16) * 257):
        labels = ColourClasses(brightness=3, hues=4, neutral=10.0).labels(pixels)
        assert labels.dtype == np.uint8
        cells = labels.reshape(3, 6, 5, 6).transpose(0, 2, 1, 3).reshape(3, 5, 36)
        assert (cells == cells[..., :1]).all()
        cells = cells[..., 0]
        assert (cells[:, 0] % 5 == 0).all()  # greys are neutral
        assert (cells[0] < cells[2]).all()  # darker parts come first
        assert list(cells[2] % 5) == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(np.diff(cells[:, 0] // 5), [1, 1])


def test_flat_and_tiny_images_have_classes_too():
    for pixels in (np.full((4, 5, 3), 90, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        assert not ColourClasses().labels(pixels).any()
    two = np.zeros((4, 4, 3), np.uint8)
    two[2:] = 255
    np.testing.assert_array_equal(ColourClasses().labels(two)[:, 0], [0, 0, 5, 5])


def test_what_colour_classes_refuse():
    with pytest.raises(ConfigError, match="brightness must be 1 to 4"):
        ColourClasses(brightness=5)
    with pytest.raises(ConfigError, match="256 classes at most"):
        ColourClasses(brightness=4, hues=64)
    with pytest.raises(ConfigError, match="no target"):
        ColourClasses()({"image": np.zeros((2, 2, 3), np.uint8)})
    with pytest.raises(ConfigError, match="before PairToFloat"):
        ColourClasses()({"target": np.zeros((3, 2, 2), np.float32)})
