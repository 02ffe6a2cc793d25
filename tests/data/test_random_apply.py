"""Transforms that views are made with: applied to a share of the images, blurred, solarised."""

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from ppcore.config import components
from ppcore.data import GaussianBlur, Grayscale, RandomApply, Solarize, Views
from ppcore.errors import ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def test_a_share_of_the_images():
    apply, rng = RandomApply(Solarize(), p=0.2), np.random.default_rng(1)
    changed = [bool((apply(IMAGE, rng) != IMAGE).any()) for _ in range(2000)]
    assert np.mean(changed) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_never_and_always(p):
    apply, rng = RandomApply(Grayscale(3), p=p), np.random.default_rng(1)
    assert all(bool((apply(IMAGE, rng) != IMAGE).any()) == bool(p) for _ in range(20))


def test_named_in_a_configuration():
    node = {"name": "ppcore.data.RandomApply", "p": 1.0, "transform": {"name": "ppcore.data.Solarize", "threshold": 0}}
    np.testing.assert_array_equal(components.build(node)(IMAGE, np.random.default_rng(0)), 255 - IMAGE)


def test_solarises_as_pillow():
    for threshold in (0, 77, 128, 256):
        want = np.asarray(ImageOps.solarize(Image.fromarray(IMAGE), threshold))
        np.testing.assert_array_equal(Solarize(threshold)(IMAGE), want)


def test_blurs_as_pillow_within_rounding():
    class Fixed:
        def uniform(self, low, high):
            assert (low, high) == (0.1, 2.0)
            return 1.3

    large = np.random.default_rng(0).integers(0, 256, (40, 44, 3), np.uint8)
    want = np.asarray(Image.fromarray(large).filter(ImageFilter.GaussianBlur(1.3)), np.int64)
    gap = np.abs(GaussianBlur()(large, Fixed()).astype(np.int64) - want)[
        8:-8, 8:-8
    ]  # three boxes repeat a border thrice
    assert gap.max() <= 3


def test_refusals():
    with pytest.raises(ConfigError, match="p"):
        RandomApply(Solarize(), p=1.5)
    with pytest.raises(ConfigError, match="threshold"):
        Solarize(300)
    with pytest.raises(ConfigError, match="sigma"):
        GaussianBlur((2.0, 0.1))
    views = Views({"a": {"transforms": {"grey": Grayscale(3)}}})
    with pytest.raises(ConfigError, match="Views takes whole samples"):
        RandomApply(views)
