"""Specs of the metrics of published tables."""

from collections.abc import Iterable

from ppcore.metrics.spec import MetricSpec, accuracy

_KNOWN = {
    spec.key: spec
    for spec in (
        accuracy("top1", "Top-1", "top-1 accuracy"),
        accuracy("top5", "Top-5", "top-5 accuracy"),
        MetricSpec("psnr", "PSNR", "PSNR", "dB", digits=2),
        MetricSpec("ssim", "SSIM", "SSIM"),
        MetricSpec("lpips", "LPIPS", "LPIPS", higher_is_better=False),
    )
}


def of(key: str) -> MetricSpec:
    return _KNOWN[key]


def present(records: Iterable[dict]) -> list[MetricSpec]:
    found = {key for record in records for key in record if record[key] is not None}
    return [spec for key, spec in _KNOWN.items() if key in found]
