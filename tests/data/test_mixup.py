"""Mixup and CutMix against the reference's numbers and against their definitions."""

import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcore.data import Mixup, cut_images, cutmix_box, mix_images, mix_targets, smooth_one_hot
from ppcore.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def golden():
    root = pathlib.Path(os.environ.get("PP_GOLDEN_DIR") or pathlib.Path(__file__).parents[3] / "shared" / "golden")
    path = root / "targets_losses_s0.npz"
    if not path.is_file():
        pytest.skip(f"{path} does not exist (set PP_GOLDEN_DIR)")
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("lam", [1.0, 0.3, 0.73])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_golden_targets(golden, lam, smoothing):
    target = mix_targets(golden["labels"], 10, lam, smoothing)
    assert target.dtype == np.float32
    np.testing.assert_allclose(target, golden[f"target_lam{lam}_smooth{smoothing}"], rtol=0, atol=1e-7)


def test_golden_images(golden):
    np.testing.assert_allclose(mix_images(golden["x"], 0.3), golden["mixup_images_lam0.3"], rtol=0, atol=1e-6)


def test_golden_boxes(golden):
    for lam, cy, cx, yl, yh, xl, xh, corrected in golden["cutmix_bbox"]:
        box = cutmix_box(16, 20, lam, int(cy), int(cx))
        assert box == (yl, yh, xl, xh)
        assert 1 - (box[1] - box[0]) * (box[3] - box[2]) / 320 == pytest.approx(corrected, abs=1e-12)
    lam, _, _, yl, yh, xl, xh, corrected = golden["cutmix_bbox"][0]
    mix = Mixup(num_classes=10).draw_box(16, 20, lam, _Fixed(golden["cutmix_bbox"][0, 1:3]))
    np.testing.assert_array_equal(cut_images(golden["x"], mix.box), golden["cutmix_images_row0"])
    assert mix.lam == pytest.approx(corrected, abs=1e-12)


class _Fixed:
    """A generator that returns the given integers."""

    def __init__(self, values):
        self.values = list(values)

    def integers(self, high):
        return self.values.pop(0)


def batch(size=8, channels=3):
    generator = np.random.default_rng(1)
    images = generator.standard_normal((size, channels, 12, 16)).astype(np.float32)
    return {"image": images, "label": np.arange(size) % 5, "index": np.arange(size)}


@settings(max_examples=200)
@given(st.integers(1, 64), st.integers(1, 64), st.floats(0, 1), st.data())
def test_box_is_inside_and_keeps_lam_when_not_clipped(height, width, lam, draw):
    cy, cx = draw.draw(st.integers(0, height - 1)), draw.draw(st.integers(0, width - 1))
    yl, yh, xl, xh = cutmix_box(height, width, lam, cy, cx)
    assert 0 <= yl <= yh <= height
    assert 0 <= xl <= xh <= width
    side = np.sqrt(1 - lam)
    assert yh - yl <= int(height * side)
    assert xh - xl <= int(width * side)


@pytest.mark.parametrize("options", [{"cutmix_alpha": 0.0}, {"mixup_alpha": 0.0}, {}, {"prob": 0.5}, {"prob": 0.0}])
@pytest.mark.parametrize("size", [8, 7, 1])
def test_batch_agrees_with_its_target(options, size):
    """Recover lambda from the pixels; the target must tell the same."""
    source = batch(size)
    before = source["image"].copy()
    mixup = Mixup(num_classes=5, label_smoothing=0.1, **options)
    for seed in range(30):
        mixed = mixup(source, np.random.default_rng(seed))
        np.testing.assert_array_equal(source["image"], before)
        assert set(mixed) == {"image", "label", "index", "target"}
        assert mixed["target"].shape == (size, 5)
        difference = before[::-1] - before
        movable = difference != 0
        moved = (mixed["image"] - before)[movable] / difference[movable]
        lam = 1 - moved.mean() if movable.any() else 1.0
        if options == {"prob": 0.0}:
            assert lam == 1
        expected = mix_targets(source["label"], 5, lam, 0.1)
        np.testing.assert_allclose(mixed["target"], expected, atol=3e-4)
        np.testing.assert_allclose(mixed["target"].sum(1), 1, atol=1e-6)


def kinds(mixup, runs=3000):
    """How many of the runs were CutMix, mixup, and neither; and mixup's lambdas."""
    source = {"image": np.zeros((2, 1, 32, 32), np.float32), "label": np.array([0, 1])}
    source["image"][1] = 1
    cut = mixed = none = 0
    lambdas = []
    for seed in range(runs):
        values = np.unique(mixup(source, np.random.default_rng((9, seed)))["image"][0])
        if len(values) == 2 or values[0] == 1:
            cut += 1
        elif values[0] == 0:
            none += 1
        else:
            mixed += 1
            lambdas.append(1 - values[0])
    return cut / runs, mixed / runs, none / runs, np.array(lambdas)


def test_how_often_which():
    options = {"num_classes": 2, "mixup_alpha": 0.8, "cutmix_alpha": 1.0}
    cut, mixed, none, lambdas = kinds(Mixup(prob=1.0, switch_prob=0.25, **options))
    assert abs(cut - 0.25) < 0.035
    assert abs(mixed - 0.75) < 0.035
    assert abs(lambdas.mean() - 0.5) < 0.03
    assert abs(lambdas.var() - 1 / (4 * 2.6)) < 0.01
    cut, mixed, none, _ = kinds(Mixup(prob=0.4, switch_prob=0.5, **options), 2000)
    assert abs(none - 0.6) < 0.05
    assert abs(cut - 0.2) < 0.04
    assert abs(mixed - 0.2) < 0.04


def test_one_hot():
    np.testing.assert_allclose(
        smooth_one_hot([1, 0], 4, 0.2), [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]], atol=1e-7
    )
    np.testing.assert_array_equal(smooth_one_hot([2], 3), [[0, 0, 1]])
    for wrong in ([0, 4], [-1]):
        with pytest.raises(DataError, match="out of range for 4 classes"):
            smooth_one_hot(wrong, 4)


def test_uncorrected_lambda():
    mixup = Mixup(num_classes=5, mixup_alpha=0.0, correct_lam=False, label_smoothing=0.0)
    lam = np.random.default_rng(4)
    lam.random()
    target = mixup(batch(), np.random.default_rng(4))["target"]
    assert target[0, 0] == pytest.approx(lam.beta(1, 1), abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"mixup_alpha": -1.0},
        {"prob": 1.1},
        {"label_smoothing": 2.0},
        {"mixup_alpha": 0.0, "cutmix_alpha": 0.0},
        {"num_classes": 0},
    ],
)
def test_wrong_arguments(options):
    with pytest.raises(ConfigError):
        Mixup(**{"num_classes": 10, **options})
