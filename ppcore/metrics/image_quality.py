"""How near restored images are to their references."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ppcore.errors import ConfigError, DataError
from ppcore.metrics import psnr_ssim
from ppcore.metrics.of_images import OfImages, check_key
from ppcore.metrics.protocols import PROTOCOLS, On, Pixels, ProtocolName, Window, conventions
from ppcore.metrics.spec import MetricSpec

_SPECS = {
    "psnr": MetricSpec("psnr", "PSNR", "PSNR", "dB", digits=2),
    "ssim": MetricSpec("ssim", "SSIM", "SSIM"),
    "lpips": MetricSpec("lpips", "LPIPS", "LPIPS", higher_is_better=False),
}
_GT_MEAN = {
    "output": "outputs scaled to the reference's mean luma (GT-mean)",
    "file": "8-bit images scaled to the reference's mean luma (GT-mean), not rounded again",
}


class ImageQuality(OfImages):
    """PSNR and SSIM (and LPIPS) of restored images beside their references, each the mean over the images.

    By protocols, because the same outputs differ by up to a decibel between them, and SSIM by 0.1:

    | protocol | pixels | PSNR on | SSIM on | window |
    |---|---|---|---|---|
    | `paper` | rounded to 8 bits | RGB | luma, full range | Gaussian 11×11 |
    | `official_code` | float, unclamped | RGB | RGB, mean of channels | uniform 7×7 |
    | `rounded` | rounded to 8 bits | RGB | RGB | Gaussian |
    | `truncated` | truncated to 8 bits | RGB | RGB | Gaussian |
    | `float` | float, clamped | RGB | RGB | Gaussian |
    | `uniform` | rounded to 8 bits | RGB | RGB | uniform |
    | `gray8` | rounded to 8 bits | RGB | 8-bit gray | uniform |
    | `studio` | rounded to 8 bits | Y of 16..235 | Y of 16..235 | Gaussian |

    `paper` has the settings of the IQA-PyTorch toolbox that UHDFour's paper used, `official_code` those of its
    released test script. Each convention is also an argument, over the protocol's. LPIPS (AlexNet, v0.1) sees
    what PSNR sees, clamped to [0, 1].

    A number is recorded under its metric's key, such as `psnr`. What makes another number of it stands in the
    key and in the name, so that it is never taken for the protocol's: `key`, or else the arguments that differ from the
    protocol (`ssim_rgb`), and always `gt_mean`.

    An image without any error has no finite PSNR: it counts 100 dB in the mean, and the log says so.

    Args:
        protocol: see above.
        metrics: which of `psnr`, `ssim`, `lpips`.
        lpips_weights: for `lpips`: a file with both AlexNet and LPIPS's linear layers, or the two
            usual files (see `ppcore.metrics.lpips`).
        pixels: see `ppcore.metrics.protocols.Conventions`; None: as the protocol says.
        psnr_on: likewise.
        ssim_on: likewise.
        window: likewise.
        gt_mean: scale each output to the reference's mean luma first (see `psnr_ssim.match_mean`).
        gt_mean_of: `output`: what the network gives is scaled, and then becomes pixels; `file`: its pixels are, and stay
            as they are then.
        crop: pixels left out at each border.
        key: what the numbers are told apart by where several metrics stand side by side: `psnr_KEY`.

    Attributes:
        specs: of the means, in the order of `metrics`.
        per_image: what each image got, `{"index", "psnr", …}`, in the order seen by this process.

    Raises:
        ConfigError: an unknown protocol, convention or metric, or `lpips` without weights.
    """

    primary_metric = "psnr"

    def __init__(
        self,
        *,
        protocol: ProtocolName = "paper",
        metrics: Sequence[Literal["psnr", "ssim", "lpips"]] = ("psnr", "ssim"),
        lpips_weights: str | Sequence[str] | None = None,
        pixels: Pixels | None = None,
        psnr_on: On | None = None,
        ssim_on: On | None = None,
        window: Window | None = None,
        gt_mean: bool = False,
        gt_mean_of: Literal["output", "file"] = "output",
        crop: int = 0,
        key: str = "",
    ):
        if not metrics or not set(metrics) <= {"psnr", "ssim", "lpips"}:
            raise ConfigError(f"Metric.metrics must list some of psnr, ssim and lpips, got {list(metrics)}")
        if crop < 0:
            raise ConfigError(f"Metric.crop is a number of pixels, 0 or more, not {crop}")
        if ("lpips" in metrics) != (lpips_weights is not None):
            raise ConfigError(
                "Metric.metrics with lpips needs Metric.lpips_weights, and the other way round: give "
                "torchvision's alexnet file and LPIPS v0.1's alex.pth, or one file with both"
            )
        if gt_mean_of not in _GT_MEAN:
            raise ConfigError(f"Metric.gt_mean_of must be output or file, not {gt_mean_of!r}")
        check_key(key)
        self.conventions = conventions(protocol, pixels=pixels, psnr_on=psnr_on, ssim_on=ssim_on, window=window)
        self.protocol, self.metrics, self.gt_mean, self.crop = protocol, list(dict.fromkeys(metrics)), gt_mean, crop
        self.gt_mean_of, self.key = gt_mean_of, key
        self._spec = {name: self._named(name) for name in self.metrics}
        self.primary_metric = self._spec.get("psnr", next(iter(self._spec.values()))).key
        self.lpips: Any = None
        if lpips_weights is not None:
            from ppcore.metrics.lpips import load_lpips  # with Paddle, which this module does without

            self.lpips = load_lpips(lpips_weights)
        super().__init__(self._spec.values())

    def _named(self, metric: str) -> MetricSpec:
        """A metric's spec, with what its number is told apart by."""
        spec, words = _SPECS[metric], [*self.key.split("_")] if self.key else self._changes(metric)
        marks = ["GT-mean"] * self.gt_mean
        keys = [spec.key, *words, *(mark.lower().replace("-", "_") for mark in marks)]
        name = " ".join([spec.name, *words, *marks])
        return replace(spec, key="_".join(keys), name=name, title=name)

    def _changes(self, metric: str) -> list[str]:
        """The values that differ from the protocol's and concern a metric."""
        own = PROTOCOLS[self.protocol].of(metric)
        return [value for name, value in self.conventions.of(metric).items() if value != own[name]]

    def measure(self, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Numbers of one image [H, W, 3] by their keys."""
        inside = slice(self.crop, -self.crop or None)
        image, target = image[inside, inside], target[inside, inside]
        if image.size == 0:
            raise DataError(f"Metric.crop {self.crop} leaves nothing of an image")
        found = {}
        with np.errstate(invalid="ignore", over="ignore"):  # an output that is not finite has no number: NaN
            if self.gt_mean and self.gt_mean_of == "output":
                image = psnr_ssim.match_mean(image, target)
            image, target = self.conventions.prepare(image), self.conventions.prepare_reference(target)
            if self.gt_mean and self.gt_mean_of == "file":
                image = psnr_ssim.match_mean(image, target)
            for name, spec in self._spec.items():
                if name == "lpips":
                    found[spec.key] = self.lpips.distance(np.clip(image, 0.0, 1.0), np.clip(target, 0.0, 1.0))
                else:
                    found[spec.key] = self.conventions.measure(name, image, target)
        return found

    def describe(self) -> str:
        """The conventions of the numbers in one line, to be printed beside them."""
        each = [self._conventions_of(metric) for metric in self.metrics]
        extra = [f"{self.crop} px cropped at each border"] * bool(self.crop)
        extra += [_GT_MEAN[self.gt_mean_of]] * self.gt_mean
        changed = self.conventions != PROTOCOLS[self.protocol]
        called = f" ({self.key})" if self.key not in ("", self.protocol) else ""
        name = f"protocol {self.protocol}{', changed' if changed else ''}{called}"
        return "; ".join([f"{name}: images {self.conventions.pixels_text}", *each, *extra])

    def _conventions_of(self, metric: str) -> str:
        return "LPIPS AlexNet v0.1" if metric == "lpips" else self.conventions.text(metric)
