"""AutoAugment: the policy, its statistics, pixels against Pillow, arguments, errors.

Statistics as in test_recipe_statistics: fixed seeds, and bounds that a right implementation with other
seeds would fail with a probability of 1e-6 a test.
"""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from test_augment import as_picture, images, photo, pillow_geometry
from test_recipe_statistics import ALPHA, assert_distributed, assert_share, rng

from benchmarks import pillow_pipeline
from ppcore.config import components
from ppcore.data import AutoAugment, RandAugment
from ppcore.data.transforms.random_operations import GEOMETRIC_OPERATIONS, OPERATIONS, Operation
from ppcore.errors import ConfigError

POLICY, SAMPLES = AutoAugment.policy, 30000
ROWS = list(dict.fromkeys(POLICY))


@pytest.fixture(scope="module")
def drawn():
    """What 30,000 images get, by sub-policy: the same generator gives `choose` and `draw` the same one."""
    transform, found = AutoAugment(), {row: [] for row in ROWS}
    for seed in range(SAMPLES):
        found[transform.choose(rng(61, seed))].append(transform.draw(rng(61, seed)))
    return found


def test_the_policy():
    """25 rows of two; the last five repeat, which the paper's table does, too."""
    assert len(POLICY) == 25
    assert len(ROWS) == 20
    assert Counter(POLICY[:20]).most_common(1)[0][1] == 1
    assert [POLICY.index(row) for row in POLICY[20:]] == [4, 1, 13, 14, 2]
    for row in POLICY:
        assert len(row) == 2
        for name, prob, magnitude in row:
            assert name in OPERATIONS
            assert 0 <= prob <= 1
            assert round(5 * prob) == pytest.approx(5 * prob)  # fifths here, of the search's eleven values
            assert magnitude in range(10)
    # How often each operation stands among the 50: a second reading of the table.
    counts = Counter(name for row in POLICY for name, _, _ in row)
    assert counts == {
        "Equalize": 17, "Rotate": 6, "Color": 6, "Solarize": 7, "Posterize": 5,
        "Invert": 3, "AutoContrast": 2, "Contrast": 2, "Sharpness": 1, "ShearX": 1,
    }  # fmt: skip


def test_sub_policies_are_drawn_uniformly(drawn):
    expected = [POLICY.count(row) * SAMPLES / 25 for row in ROWS]
    assert stats.chisquare([len(drawn[row]) for row in ROWS], expected).pvalue > ALPHA


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_operation_has_its_probability_independently(drawn, row):
    """The counts of none, the first, the second and both of a sub-policy, about 1,200 or 2,400 draws."""
    (first, p, _), (second, q, _) = row
    outcomes = Counter({(): 0.0})
    for names, share in (((), (1 - p) * (1 - q)), ((first,), p * (1 - q)), ((second,), (1 - p) * q)):
        outcomes[names] += share
    outcomes[first, second] += p * q
    outcomes = {names: share for names, share in outcomes.items() if share > 1e-9}
    found = Counter(tuple(o.name for o in operations) for operations in drawn[row])
    assert set(found) == set(outcomes)
    total = len(drawn[row])
    if len(outcomes) == 2:  # exact where it can be
        names = next(iter(outcomes))
        assert_share(found[names], total, outcomes[names])
    else:
        result = stats.chisquare([found[names] for names in outcomes], [s * total for s in outcomes.values()])
        assert result.pvalue > ALPHA


def test_arguments_by_hand(drawn):
    """Every argument that the policy's magnitudes give without noise; signs even where there are any."""
    found = {}
    for operations in (o for draws in drawn.values() for o in draws):
        for name, argument, kernel in operations:
            found.setdefault(name, []).append(argument)
            assert kernel == "bicubic"
    values = {name: sorted(set(arguments)) for name, arguments in found.items() if set(arguments) != {None}}
    assert set(found) - set(values) == {"AutoContrast", "Equalize", "Invert"}
    assert values == {
        "Posterize": [6, 7],  # bits kept at magnitudes 5, 6, 7 and 8: 4 + int(.4 m)
        "Solarize": [76, 102, 128, 179, 204],  # int(25.6 m) at 3, 4, 5, 7, 8
        "Color": [pytest.approx(v) for v in (0.1, 0.46, 0.82, 1.54)],  # .1 + .18 m at 0, 2, 4, 8
        "Contrast": [pytest.approx(1.54)],
        "Sharpness": [pytest.approx(1.36)],
        "Rotate": [pytest.approx(v) for v in (-27, -24, -9, 9, 24, 27)],
        "ShearX": [pytest.approx(-0.15), pytest.approx(0.15)],
    }
    for name in ("Rotate", "ShearX"):
        signs = np.array(found[name]) > 0
        assert_share(signs.sum(), signs.size, 0.5)


def test_magnitude_noise():
    """N(m, .5): degrees / 3 of the sub-policy with Rotate 9 are that, cut at 10; the bits spread, too."""
    transform, generator = AutoAugment(magnitude_std=0.5, interpolation="random"), rng(62)
    draws = [(transform.choose(rng(63, seed)), transform.draw(rng(63, seed))) for seed in range(SAMPLES)]
    turns = np.abs([o.argument for row, ops in draws if row == POLICY[11] for o in ops if o.name == "Rotate"]) / 3
    normal = stats.norm(9, 0.5)
    clipped = turns > 10 - 1e-9
    assert turns.max() < 10 + 1e-9
    assert_share(clipped.sum(), clipped.size, normal.sf(10))
    assert_distributed(turns[~clipped], stats.truncnorm(-np.inf, 2, loc=9, scale=0.5))
    bits = np.array([o.argument for row, ops in draws if row == POLICY[7] for o in ops if o.name == "Posterize"])
    assert_share((bits >= 6).sum(), bits.size, 0.5)  # magnitude 5 is the edge of 4 + int(.4 m) = 6
    operations = [o for _ in range(5000) for o in transform.draw(generator)]
    assert_share(sum(o.kernel == "bicubic" for o in operations), len(operations), 0.5)


def pillow(image, operation):
    """Pillow's result of one operation."""
    name, argument, kernel = operation
    if name in GEOMETRIC_OPERATIONS:
        return pillow_geometry(name, image, argument, kernel)
    arguments = [] if argument is None else [argument]
    return np.asarray(pillow_pipeline.VALUE_OPERATIONS[name](as_picture(image), *arguments)).reshape(image.shape)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_pixels_of_every_sub_policy_are_pillows(row, interpolation, monkeypatch):
    """Operation by operation on colour and grey photographs, with the tolerances of the operations' own tests."""
    transform = AutoAugment(interpolation=interpolation)
    monkeypatch.setattr(transform, "choose", lambda generator: [(name, float(p > 0), m) for name, p, m in row])
    for image in (photo(), photo()[:101, :150, :1]):
        before, expected = image.copy(), image
        operations = transform.draw(rng(64))
        assert [o.name for o in operations] == [name for name, p, _ in row if p > 0]
        for operation in operations:
            given, expected = expected, transform.apply(expected, operation)
            difference = np.abs(expected.astype(int) - pillow(given, operation))
            if operation.name == "Rotate":
                assert difference.mean() < 0.8
                assert np.mean(difference > 4) < 0.03
            elif operation.name == "ShearX":
                assert difference.max() <= 1
                assert np.mean(difference > 0) < 0.04
            else:
                assert not difference.any()
        got = transform(image, rng(64))
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(image, before)
        assert not np.array_equal(got, image)


def test_images_without_geometry_equal_a_pillow_pipeline():
    """From one generator, through the pipeline the benchmark runs on Pillow; every value equal."""
    transform, picture, seen = AutoAugment(magnitude_std=0.5), photo(96), 0
    for seed in range(150):
        if any(o.name in GEOMETRIC_OPERATIONS for o in transform.draw(rng(65, seed))):
            continue
        expected = pillow_pipeline.augment(Image.fromarray(picture), transform, rng(65, seed))
        np.testing.assert_array_equal(transform(picture, rng(65, seed)), np.asarray(expected))
        seen += 1
    assert seen > 80


def test_deterministic_and_any_image():
    transform = AutoAugment(magnitude_std=0.5, fill=[7])
    picture = photo(48)
    results = [transform(picture, rng(66, seed)).tobytes() for seed in range(100)]
    assert results == [AutoAugment(0.5, [7])(picture, rng(66, seed)).tobytes() for seed in range(100)]
    assert len(set(results)) > 40
    for image in images().values():
        before = image.copy()
        for seed in range(30):
            got = transform(image, rng(67, seed))
            assert (got.shape, got.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(image, before)


def test_fill_is_what_comes_in():
    turned = AutoAugment().apply(photo(), Operation("Rotate", 27.0, "bicubic"))
    assert turned[0, 0].tolist() == [124, 116, 104]
    grey = AutoAugment().apply(photo()[:, :, :1], Operation("Rotate", 27.0, "bicubic"))
    assert grey[0, 0].tolist() == RandAugment().fill[1].tolist() == [117]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude_std": -0.5}, "magnitude_std is -0.5"),
        ({"magnitude_std": float("nan")}, "finite number, got nan"),
        ({"magnitude_std": float("inf")}, "finite number, got inf"),
        ({"magnitude_std": "0.5"}, "magnitude_std"),
        ({"fill": [1, 2]}, "fill"),
        ({"fill": [1, 2, 300]}, "fill"),
        ({"fill": 7}, "fill"),
        ({"interpolation": "nearest"}, "interpolation"),
        ({"magnitud_std": 0.5}, "did you mean 'magnitude_std'"),
        ({"magnitude": 9}, "no argument 'magnitude'"),
    ],
)
def test_wrong_arguments(arguments, message):
    def load():
        step = {"name": "ppcore.data.AutoAugment", **arguments}
        components.check(step, "recipe.yaml")
        components.build(step)

    with pytest.raises(ConfigError, match=message) as raised:
        load()
    assert "\n" not in str(raised.value)


def test_values_are_checked_without_a_configuration():
    for wrong in (
        {"magnitude_std": -1.0},
        {"magnitude_std": float("nan")},
        {"magnitude_std": float("inf")},
        {"fill": [1, 2]},
        {"fill": [-1]},
        {"interpolation": "nearest"},
    ):
        with pytest.raises(ConfigError, match=f"^AutoAugment: {next(iter(wrong))} is "):
            AutoAugment(**wrong)
    assert components.resolve("ppcore.data.AutoAugment", "test") is AutoAugment
