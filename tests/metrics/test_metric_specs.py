"""What a metric says of its numbers: unit, decimals, direction."""

import math

import pytest

from ppcore.metrics import ImageQuality, MetricSpec, TopK

PSNR, SSIM, LPIPS = "psnr", "ssim", "lpips"


def specs(metric) -> dict[str, MetricSpec]:
    return {spec.key: spec for spec in metric.specs}


def test_each_metric_has_its_own():
    assert list(specs(TopK(topk=[5, 1]))) == ["top1", "top5"]
    assert list(specs(ImageQuality(metrics=[SSIM, PSNR]))) == [SSIM, PSNR]


@pytest.mark.parametrize(
    ("metric", "key", "written", "heading", "axis"),
    [
        (TopK(), "top1", "87.50", "Top-1 %", "Top-1 accuracy, %"),
        (ImageQuality(), PSNR, "0.88", "PSNR dB", "PSNR, dB"),
        (ImageQuality(), SSIM, "0.8750", "SSIM", "SSIM"),
    ],
)
def test_how_a_number_is_written(metric, key, written, heading, axis):
    spec = specs(metric)[key]
    assert f"{spec.written(0.875):.{spec.digits}f}" == written
    assert (spec.heading, spec.axis) == (heading, axis)


def test_which_way_is_better():
    higher, lower = MetricSpec("a", "A", "a"), MetricSpec("b", "B", "b", higher_is_better=False)
    assert higher.better(2.0, 1.0)
    assert lower.better(1.0, 2.0)
    assert not any(spec.better(1.0, 1.0) for spec in (higher, lower))


@pytest.mark.parametrize("spec", [MetricSpec("a", "A", "a"), MetricSpec("b", "B", "b", higher_is_better=False)])
def test_a_number_is_better_than_none_and_nan_never_is(spec):
    assert spec.better(0.0, None)
    assert spec.better(0.0, math.nan)
    assert not spec.better(math.nan, None)
    assert not spec.better(math.nan, math.nan)
