"""Resize and CenterCrop against torchvision's rule, written down here once more with Pillow."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage import data

from ppcore.data import CenterCrop, Normalize, Resize, resize_image
from ppcore.data.transforms.geometry import resized_shape
from ppcore.errors import ConfigError

side = st.integers(1, 1200)


def oracle_resized(width, height, size):
    """torchvision.transforms.functional._compute_resized_output_size for an int; (w, h)."""
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    return (new_short, new_long) if width <= height else (new_long, new_short)


def oracle_crop(picture, crop_height, crop_width):
    """torchvision.transforms.functional.center_crop on a PIL image."""
    width, height = picture.size
    if crop_width > width or crop_height > height:
        left = (crop_width - width) // 2 if crop_width > width else 0
        top = (crop_height - height) // 2 if crop_height > height else 0
        right = (crop_width - width + 1) // 2 if crop_width > width else 0
        bottom = (crop_height - height + 1) // 2 if crop_height > height else 0
        picture = ImageOps.expand(picture, (left, top, right, bottom), fill=0)
        width, height = picture.size
        if crop_width == width and crop_height == height:
            return picture
    top = round((height - crop_height) / 2.0)
    left = round((width - crop_width) / 2.0)
    return picture.crop((left, top, left + crop_width, top + crop_height))


@pytest.mark.parametrize("size", [224, 248, 256, 292, 384, 438])
def test_resized_size_over_4000_sizes(size):
    rng = np.random.default_rng(size)
    sizes = np.concatenate([rng.integers(16, 900, (3800, 2)), rng.integers(1, 5000, (200, 2))])
    for width, height in sizes.tolist():
        assert resized_shape(height, width, size) == oracle_resized(width, height, size)[::-1]


def test_resized_size_differs_from_rounding():
    """The sizes above can tell: rounding instead of truncating would change about half of them."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(100, 900, (1000, 2)).tolist()
    changed = sum(resized_shape(h, w, 256)[0 if h > w else 1] != round(256 * max(h, w) / min(h, w)) for w, h in sizes)
    assert 350 < changed < 650


def coordinates(height, width):
    """An image whose pixels name their place, to see what a crop keeps; never 0, the padding."""
    y, x = np.mgrid[:height, :width]
    return np.stack([1 + y % 255, 1 + x % 255, 1 + (y // 255) * 16 + x // 255], -1).astype(np.uint8)


@settings(max_examples=400)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300), st.integers(1, 300))
@example(257, 258, 224, 224)
@example(100, 300, 224, 224)
@example(223, 225, 224, 224)
def test_center_crop(height, width, crop_height, crop_width):
    image = coordinates(height, width)
    expected = np.asarray(oracle_crop(Image.fromarray(image), crop_height, crop_width))
    np.testing.assert_array_equal(CenterCrop([crop_height, crop_width])(image), expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest", "lanczos"])
def test_pixels_equal_pillow_on_a_photograph(interpolation):
    photo = data.astronaut()
    method = getattr(Image.Resampling, interpolation.upper())
    rng = np.random.default_rng(1)
    for height, width in rng.integers(40, 512, (12, 2)).tolist():
        image = photo[:height, -width:]
        picture = Image.fromarray(image)
        expected = oracle_crop(picture.resize(oracle_resized(width, height, 73), method), 64, 64)
        got = CenterCrop(64)(Resize(73, interpolation)(image))
        np.testing.assert_array_equal(got, np.asarray(expected))
        fixed = np.asarray(picture.resize((60, 50), method))
        np.testing.assert_array_equal(Resize([50, 60], interpolation)(image), fixed)


def test_one_channel_and_same_size():
    grey = data.camera()[:200, :300, None]
    expected = np.asarray(Image.fromarray(grey[:, :, 0]).resize((96, 64), Image.Resampling.BICUBIC))
    for backend, tolerance in (("pil", 0), ("cv2", 255)):
        got = Resize(64, backend=backend)(grey)
        assert got.shape == (64, 96, 1)
        assert np.abs(got[:, :, 0].astype(int) - expected).max() <= tolerance
    assert Resize(200)(grey) is grey
    assert CenterCrop(260)(grey).shape == (260, 260, 1)


def test_opencv_backend_does_not_alias():
    photo = data.astronaut()
    exact = resize_image(photo, 128, 128, "bicubic", "pil").astype(float)

    def error(**options):
        return math.sqrt(np.mean((resize_image(photo, 128, 128, "bicubic", "cv2", **options) - exact) ** 2))

    assert error() < 3 < 6 < error(antialias=False)


@pytest.mark.parametrize(("mean", "std"), [((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
def test_normalize_has_torchvisions_bits(mean, std):
    image = data.astronaut()[:50, :60]
    scaled = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    expected = (scaled - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    got = Normalize(mean, std)(image)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)
    batch = np.stack([image, image[::-1]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(Normalize(mean, std).batch(batch), np.stack([expected, expected[:, ::-1]]))


def test_normalize_all_pixel_values_grey():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    got = Normalize([0.1307], [0.3081])(image)
    np.testing.assert_allclose(got[0], (np.arange(256).reshape(16, 16) / 255 - 0.1307) / 0.3081, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Resize(0),
        lambda: Resize([1, 2, 3]),
        lambda: Resize(8, "cubic"),
        lambda: Resize(8, backend="gpu"),
        lambda: Resize(8, antialias=False),
        lambda: CenterCrop([4, -1]),
        lambda: Normalize([0.5], [0.5, 0.5]),
        lambda: Normalize([], []),
        lambda: Normalize([0.5], [0.0]),
        lambda: Normalize([0.5], [0.5])(np.zeros((4, 4, 3), np.uint8)),
        lambda: Normalize([0.5] * 3, [0.5] * 3)(np.zeros((4, 4, 3), np.float32)),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises(ConfigError) as error:
        make()
    assert "\n" not in str(error.value)
