"""How metrics are written, and which way is better."""

import pytest

from ppcore import components, units


@pytest.mark.parametrize(
    ("key", "heading", "axis", "recorded", "written"),
    [
        ("top1", "Top-1 %", "Top-1 accuracy, %", 0.875, 87.5),
        ("psnr", "PSNR dB", "PSNR, dB", 21.5, 21.5),
        ("ssim", "SSIM", "SSIM", 0.9, 0.9),
        ("unknown", "unknown", "Unknown", 3.0, 3.0),
    ],
)
def test_names_and_units(key, heading, axis, recorded, written):
    unit = units.of(key)
    assert (unit.heading, unit.axis, unit.written(recorded)) == (heading, axis, written)


def test_which_way_is_better():
    assert units.of("psnr").better(21.0, 20.0)
    assert units.of("lpips").better(0.1, 0.2)
    assert units.of("loss").better(0.1, 0.2)
    assert not any(units.of(key).better(1.0, 1.0) for key in ("psnr", "lpips"))


def test_those_of_some_records_headline_first():
    records = [{"n": 3, "ssim": 0.5, "psnr": 20.0, "loss": 1.0}, {"lpips": None}]
    assert [unit.key for unit in units.present(records)] == ["psnr", "ssim"]
    assert units.present([]) == []


def test_a_layer_whose_annotations_only_type_checkers_know_is_a_component():
    """Paddle 3's own layers: their annotations name what is never imported."""
    components.check({"name": "paddle.nn.GELU", "approximate": True}, "Arch")
