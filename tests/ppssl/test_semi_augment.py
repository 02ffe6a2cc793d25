"""FixMatch's RandAugment, drawn uniformly over operations and ranges, and Cutout."""

from collections import defaultdict

import numpy as np
import pytest

from ppcore.errors import ConfigError
from ppssl import Cutout, UniformRandAugment
from ppssl.semi_augment import OPERATIONS

IMAGE = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
# The ranges of the paper's appendix, by our names.
RANGES = {
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), (0.05, 0.95)),
    "Posterize": (4, 8),
    "Solarize": (0, 255),
    "Rotate": (-30, 30),
    **dict.fromkeys(("ShearX", "ShearY", "TranslateXRel", "TranslateYRel"), (-0.3, 0.3)),
}


@pytest.fixture(scope="module")
def drawn():
    """Arguments by operation of 7000 images, and how many operations each had."""
    augment, rng, arguments, lengths = UniformRandAugment(), np.random.default_rng(0), defaultdict(list), []
    for _ in range(7000):
        operations = augment.draw(rng)
        lengths.append(len(operations))
        for operation in operations:
            arguments[operation.name].append(operation.argument)
    return arguments, lengths


def test_every_operation_is_as_frequent(drawn):
    """14, of which the identity is not seen; each is one of 14 draws, two an image."""
    arguments, lengths = drawn
    assert len(OPERATIONS) == 14
    assert set(arguments) == {*RANGES, "AutoContrast", "Equalize"}
    assert all(len(values) == pytest.approx(1000, abs=150) for values in arguments.values())
    assert lengths.count(2) / len(lengths) == pytest.approx((13 / 14) ** 2, abs=0.02)
    assert set(lengths) == {0, 1, 2}


def test_arguments_go_through_their_ranges(drawn):
    for name, (low, high) in RANGES.items():
        values = np.array(drawn[0][name])
        assert low <= values.min() < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < values.max() <= high, name
        quarters = np.histogram(values, 5, (low, high + 1e-9))[0]
        assert quarters.min() > 0.7 * len(values) / 5, name
    assert set(drawn[0]["Posterize"]) == {4, 5, 6, 7, 8}
    assert set(drawn[0]["Equalize"]) == {None}


def test_an_image_is_an_image_again_and_the_seed_says_which():
    augment = UniformRandAugment(num_ops=4)
    first, again, other = (augment(IMAGE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == IMAGE.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


class TestCutout:
    def squares(self, share=0.5, size=(32, 32)):
        image, rng, cut = np.zeros((*size, 3), np.uint8), np.random.default_rng(0), Cutout(share)
        for _ in range(400):
            grey = cut(image, rng)
            assert not image.any()
            assert set(np.unique(grey)) <= {0, 128}
            yield grey[:, :, 0] == 128

    def test_a_square_whose_centre_is_any_pixel(self):
        sizes, covered = set(), np.zeros((32, 32))
        for mask in self.squares():
            rows, columns = mask.any(1).sum(), mask.any(0).sum()
            assert mask.sum() == rows * columns
            assert 8 <= rows <= 16
            assert 8 <= columns <= 16
            sizes.add((rows, columns))
            covered += mask
        assert (16, 16) in sizes
        assert min(sizes) < (10, 16)
        assert covered.min() > 0
        assert covered[16, 16] > 1.4 * covered[0, 0], "the middle is in more squares than a corner"

    def test_of_the_shorter_side(self):
        assert max(mask.any(1).sum() for mask in self.squares(0.25, (40, 20))) == 5
        assert not any(mask.any() for mask in self.squares(0.0))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: UniformRandAugment(num_ops=0), "num_ops"),
        (lambda: UniformRandAugment(fill=[300]), "fill"),
        (lambda: Cutout(share=1.5), "share"),
        (lambda: Cutout(value=256), "value"),
    ],
)
def test_refused(make, word):
    with pytest.raises(ConfigError, match=word):
        make()
