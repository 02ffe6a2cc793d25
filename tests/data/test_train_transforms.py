"""Random transforms: their distributions, and their values against Pillow."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import stats
from skimage import data

from ppcore.data import ColorJitter, Grayscale, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, resize_image
from ppcore.data.transforms.color import shift_hue
from ppcore.errors import ConfigError, DataError


def rng(*key):
    return np.random.default_rng(key or 0)


def test_random_resized_crop_distribution():
    """Boxes that always fit: ratio log-uniform, area uniform, place uniform."""
    crop, generator = RandomResizedCrop(8, scale=(0.08, 0.5)), rng(5)
    boxes = np.array([crop.box(2000, 2000, generator) for _ in range(4000)], float)
    top, left, height, width = boxes.T
    ratio, area = width / height, width * height / 4e6
    assert abs(np.mean(ratio < 1) - 0.5) < 0.03  # uniform sampling would give 0.43
    low, high = np.log(3 / 4), np.log(4 / 3)
    assert stats.kstest(np.log(ratio), stats.uniform(low, high - low).cdf).statistic < 0.026  # p about 0.01
    assert stats.kstest(area, stats.uniform(0.08, 0.42).cdf).statistic < 0.026
    for offset, room in ((top, 2000 - height), (left, 2000 - width)):
        assert stats.kstest(offset / room, stats.uniform.cdf).statistic < 0.026


@settings(max_examples=300)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_random_resized_crop_box_is_inside(rows, columns, seed):
    top, left, height, width = RandomResizedCrop(8).box(rows, columns, rng(seed))
    assert top >= 0
    assert left >= 0
    assert height > 0
    assert width > 0
    assert top + height <= rows
    assert left + width <= columns


def test_a_box_that_does_not_fit_is_cut_when_it_is_not_drawn_again():
    """MAE's linear probe: one draw, sides no longer than the image's; torchvision's way draws others."""
    once, again = (RandomResizedCrop(8, scale=(0.9, 1.0), redraw=redraw) for redraw in (False, True))
    cut = 0
    for seed in range(200):
        generator = rng(seed)
        area, ratio = 60 * 100 * generator.uniform(0.9, 1.0), np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        top, left, rows, columns = once.box(60, 100, rng(seed))
        assert (rows, columns) == (min(height, 60), min(width, 100))
        assert top + rows <= 60
        assert left + columns <= 100
        cut += height > 60
    assert cut > 150, "ratios up to 4/3 hardly fit"
    assert {again.box(60, 100, rng(seed))[2:] for seed in range(200)} >= {(60, 80)}, "the largest central box"


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [(50, 1000, (0, 466, 50, 67)), (1000, 50, (466, 0, 67, 50)), (90, 100, (0, 0, 90, 100))],
)
def test_random_resized_crop_fallback(rows, columns, box):
    """When no try fits (area above the whole image): the central box of the nearest ratio."""
    assert RandomResizedCrop(8, scale=(3.0, 3.0)).box(rows, columns, rng()) == box


@pytest.mark.parametrize("backend", ["cv2", "pil"])
def test_random_resized_crop_image(backend):
    photo = data.astronaut()
    crop = RandomResizedCrop([40, 30], backend=backend)
    got = crop(photo, rng(3))
    assert got.shape == (40, 30, 3)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, crop(photo, rng(3)))
    assert not np.array_equal(got, crop(photo, rng(4)))
    top, left, height, width = crop.box(512, 512, rng(3))
    part = Image.fromarray(photo[top : top + height, left : left + width])
    expected = np.asarray(part.resize((30, 40), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(got - expected).mean() <= (0 if backend == "pil" else 4)
    assert crop(photo[:, :, :1], rng(3)).shape == (40, 30, 1)


@pytest.mark.parametrize(
    "factors", [(1.05, 1.05), (1.1, 1.4), (1.25, 1.25), (0.9, 1.2), (1.6, 1.6), (2.0, 1.5), (2.5, 2.5)]
)
def test_opencv_bicubic_shrinks_like_pillow(factors):
    """RMS distance from Pillow: below 1.6 grey levels, and nearer than OpenCV's own two ways, by the axis."""
    distances = {"blurred": [], "plain": [], "areas": []}
    for photo in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        height, width = (int(side / factor) for side, factor in zip(photo.shape, factors, strict=False))
        exact = resize_image(photo, height, width, "bicubic", "pil").astype(float)
        results = {
            "blurred": resize_image(photo, height, width, "bicubic", "cv2"),
            "plain": resize_image(photo, height, width, "bicubic", "cv2", antialias=False),
            "areas": cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA),
        }
        for name, result in results.items():
            distances[name].append(np.sqrt(np.mean((result - exact) ** 2)))
    blurred, plain, areas = (np.mean(values) for values in distances.values())
    assert blurred < min(1.6, plain, areas), (blurred, plain, areas)


def test_opencv_bicubic_growing_is_plain():
    photo = data.coffee()[:50, :60]
    expected = cv2.resize(photo, (90, 70), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(resize_image(photo, 70, 90, "bicubic", "cv2"), expected)


def test_flip():
    image = data.astronaut()[:20, :31]
    flip, generator = RandomHorizontalFlip(0.3), rng(1)
    results = [flip(image, generator) for _ in range(2000)]
    mirrored = [np.array_equal(result, image[:, ::-1]) for result in results]
    assert all(m or np.array_equal(r, image) for m, r in zip(mirrored, results, strict=True))
    assert abs(np.mean(mirrored) - 0.3) < 0.04
    np.testing.assert_array_equal(RandomHorizontalFlip(1.0)(image[:, :, :1], rng()), image[:, ::-1, :1])
    assert RandomHorizontalFlip(0.0)(image, rng()) is image


def test_random_crop():
    image = np.arange(1, 33, dtype=np.uint8)[:, None, None] + np.zeros((1, 32, 3), np.uint8)
    generator = rng(2)
    for mode in ("constant", "reflect"):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode=mode)
        seen = set()
        for _ in range(300):
            got = RandomCrop(32, padding=4, padding_mode=mode)(image, generator)
            tops = [t for t in range(9) if np.array_equal(got[:, 4], padded[t : t + 32, 8])]
            assert got.shape == (32, 32, 3)
            assert len(tops) == 1
            seen.add(tops[0])
        assert seen == set(range(9))
    with pytest.raises(DataError, match="smaller than the crop"):
        RandomCrop(33)(image, generator)


@pytest.mark.parametrize(
    ("name", "kind"), [("brightness", "Brightness"), ("contrast", "Contrast"), ("saturation", "Color")]
)
def test_color_jitter_is_pillows(name, kind):
    photo = data.coffee()[:60, :80]
    for factor in (0.0, 0.6, 1.3):
        got = ColorJitter(**{name: (factor, factor)})(photo, rng())
        expected = getattr(ImageEnhance, kind)(Image.fromarray(photo)).enhance(factor)
        np.testing.assert_array_equal(got, np.asarray(expected))


@pytest.mark.parametrize("turns", [-0.5, -0.21, -0.001, 0.0, 0.1, 0.5])
def test_hue_shift(turns):
    picture = Image.fromarray(data.coffee()[:60, :80])
    hsv = np.array(picture.convert("HSV")).astype(int)
    hsv[..., 0] = (hsv[..., 0] + int(turns * 255)) % 256
    expected = _hsv(hsv)
    np.testing.assert_array_equal(np.asarray(shift_hue(picture, turns)), np.asarray(expected.convert("RGB")))


def _hsv(array):
    return Image.merge("HSV", [Image.fromarray(plane) for plane in array.astype(np.uint8).transpose(2, 0, 1)])


def test_color_jitter_range_and_order():
    """Brightness by x draws from [1 - x, 1 + x]; the order of the four changes."""
    flat = np.full((2, 2, 3), 100, np.uint8)
    values = [ColorJitter(brightness=0.4)(flat, rng(7, k))[0, 0, 0] for k in range(1500)]
    assert 60 <= min(values) <= 62
    assert 138 <= max(values) <= 140
    assert abs(np.mean(values) - 99.5) < 2
    photo = data.coffee()[:20, :20]
    jitter = ColorJitter(brightness=(1.5, 1.5), contrast=(0.5, 0.5))
    assert len({jitter(photo, rng(k)).tobytes() for k in range(20)}) == 2
    grey = photo[:, :, :1]
    np.testing.assert_array_equal(ColorJitter(saturation=0.9, hue=0.5)(grey, rng()), grey)


def test_grayscale():
    photo = data.coffee()[:60, :80]
    luma = np.asarray(Image.fromarray(photo).convert("L"))
    np.testing.assert_array_equal(Grayscale()(photo), luma[:, :, None])
    np.testing.assert_array_equal(Grayscale(3)(photo), np.stack([luma] * 3, -1))
    np.testing.assert_array_equal(Grayscale(3)(luma[:, :, None]), np.stack([luma] * 3, -1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomResizedCrop(0),
        lambda: RandomResizedCrop(8, scale=(0.5, 0.1)),
        lambda: RandomResizedCrop(8, ratio=(0.0, 1.0)),
        lambda: RandomHorizontalFlip(1.5),
        lambda: RandomCrop(8, padding=-1),
        lambda: RandomCrop(8, padding_mode="wrap"),
        lambda: ColorJitter(brightness=-0.1),
        lambda: ColorJitter(contrast=(2.0, 1.0)),
        lambda: ColorJitter(hue=0.6),
        lambda: Grayscale(2),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises(ConfigError):
        make()
