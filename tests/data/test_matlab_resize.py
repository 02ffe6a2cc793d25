"""MATLAB's imresize beside Pillow's kernel in floating point, by its definition, and its two borders."""

import numpy as np
import pytest
from PIL import Image

from ppcore.data import Photographs
from ppcore.data.images.matlab_resize import BORDERS, imresize, modcrop, taps
from ppcore.data.images.ycbcr import rgb2ycbcr, y_of, ycbcr2rgb
from ppcore.errors import ConfigError

SCALES = [1 / 4, 1 / 3, 0.5, 0.7, 1.3, 2, 3, 4]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).random((36, 60))


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.5, 2, 3, 4])
def test_the_kernel_is_pillows_away_from_the_border(image, scale):
    """In Pillow's 32-bit mode, which rounds nothing to bytes; there the borders differ, and nothing else."""
    found = imresize(image, scale)
    pillow = Image.fromarray(image.astype("float32")).resize(found.shape[::-1], Image.Resampling.BICUBIC)
    inside = slice(int(np.ceil(2 * max(scale, 1))), -int(np.ceil(2 * max(scale, 1))))
    difference = np.abs(found - np.asarray(pillow, np.float64))
    assert difference[inside, inside].max() < 2e-6
    assert difference.max() > 1e-3


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.5, 2, 3])
def test_a_border_is_what_numpy_pads_with(image, border, scale):
    mode = {"symmetric": "symmetric", "replicate": "edge"}[border]
    padded = imresize(np.pad(image, 24, mode=mode), scale)
    ring = round(24 * scale)
    np.testing.assert_allclose(imresize(image, scale, border=border), padded[ring:-ring, ring:-ring], atol=1e-13)


@pytest.mark.parametrize("scale", SCALES)
def test_by_definition(scale):
    """Each pixel from all of its taps, one after the other."""
    row = np.random.default_rng(1).random(17)
    image = np.tile(row, (5, 1))
    weights, index = taps(17, int(np.ceil(17 * scale)), scale)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-14)
    expected = np.array(
        [sum(w * row[i] for w, i in zip(*pair, strict=True)) for pair in zip(weights, index, strict=True)]
    )
    found = imresize(image, scale)
    assert found.shape == (int(np.ceil(5 * scale)), len(expected))
    np.testing.assert_allclose(found, np.tile(expected, (len(found), 1)), atol=1e-13)


def test_an_image_narrower_than_the_window_is_mirrored_again_and_again():
    image = np.arange(12.0).reshape(3, 4)
    padded = imresize(np.pad(image, 36, "symmetric"), 0.25)
    np.testing.assert_allclose(imresize(image, 0.25), padded[9:10, 9:10], atol=1e-13)


def test_bytes_are_rounded_after_each_axis():
    image = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert (imresize(image, 0.5).dtype, imresize(image, 0.5).shape) == (np.uint8, (10, 15, 3))
    rows = imresize(image, size=(10, 30))  # rows alone change
    np.testing.assert_array_equal(imresize(rows, size=(10, 15)), imresize(image, 0.5))
    once = np.floor(255 * imresize(image / 255.0, 0.5).clip(0, 1) + 0.5)
    assert 0 < np.abs(imresize(image, 0.5) - once).max() <= 2


def test_the_axis_with_the_smaller_scale_goes_first():
    image = np.random.default_rng(2).integers(0, 256, (40, 30)).astype(np.uint8)
    columns_first = imresize(imresize(image, size=(40, 8)), size=(30, 8))
    np.testing.assert_array_equal(imresize(image, size=(30, 8)), columns_first)
    rows_first = imresize(imresize(image, size=(30, 30)), size=(30, 8))
    assert (columns_first != rows_first).any()


def test_turning_and_resizing_are_one_when_sides_are_multiples(image):
    for quarters in range(4):
        turned = imresize(np.rot90(image, quarters), 1 / 3)
        np.testing.assert_allclose(turned, np.rot90(imresize(image, 1 / 3), quarters), atol=1e-13)


def test_the_newer_and_the_older_differ_at_the_border_alone(image):
    difference = np.abs(imresize(image, 1 / 3) - imresize(image, 1 / 3, border="replicate"))
    assert difference.max() > 1e-3
    assert not difference[2:-2, 2:-2].any()


@pytest.mark.parametrize(
    "arguments", [{}, {"scale": 2, "size": (3, 3)}, {"scale": 0}, {"size": (0, 3)}, {"scale": 2, "border": "wrap"}]
)
def test_what_is_refused(image, arguments):
    with pytest.raises(ConfigError, match="imresize"):
        imresize(image, **arguments)


def test_modcrop():
    image = np.zeros((10, 11, 3))
    assert modcrop(image, 3).shape == (9, 9, 3)
    assert modcrop(image, 2).shape == (10, 10, 3)
    with pytest.raises(ConfigError, match="12 pixels"):
        modcrop(image, 12)


class TestColours:
    def test_there_and_back(self):
        image = np.random.default_rng(0).random((9, 7, 3))
        np.testing.assert_allclose(ycbcr2rgb(rgb2ycbcr(image)), image, atol=1e-12)
        assert ycbcr2rgb(np.ones((1, 1, 3))).max() == 1.0

    @pytest.mark.parametrize(
        ("colour", "expected"),
        [((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (81, 90, 240))],
    )
    def test_known_colours(self, colour, expected):
        assert rgb2ycbcr(np.array([[colour]], np.uint8))[0, 0].tolist() == list(expected)

    def test_y_alone_is_the_first_plane(self):
        image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
        np.testing.assert_array_equal(y_of(image), rgb2ycbcr(image / 255.0)[..., 0])
        np.testing.assert_array_equal(y_of(image, y8=True) * 255, rgb2ycbcr(image)[..., 0])
        np.testing.assert_array_equal(y_of(image / 255.0, y8=True), y_of(image, y8=True))

    def test_a_grey_image_is_its_own_y(self):
        grey = Photographs(split="test").load(0)["image"][..., 1]
        np.testing.assert_array_equal(y_of(grey, y8=True) * 255, grey)
