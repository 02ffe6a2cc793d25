"""How near restored images are to their references."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ppcore.errors import ConfigError, DataError
from ppcore.metrics import psnr_ssim
from ppcore.metrics.spec import MetricSpec

log = logging.getLogger(__name__)

_SPECS = {
    "psnr": MetricSpec("psnr", "PSNR", "PSNR", "dB", digits=2),
    "ssim": MetricSpec("ssim", "SSIM", "SSIM"),
    "lpips": MetricSpec("lpips", "LPIPS", "LPIPS", higher_is_better=False),
}


class ImageQuality:
    """PSNR and SSIM (and LPIPS) of restored images beside their references, each the mean over the images.

    Two protocols, because the same outputs differ by up to a decibel between them:
    `paper`: images as 8-bit files hold them (clamped and rounded); PSNR over RGB; SSIM on BT.601 luma
    (full range), Gaussian 11×11, sigma 1.5, windows inside the image. These are the settings of the
    IQA-PyTorch toolbox that UHDFour's paper used. `official_code`: the network's float output as it
    is, unclamped; PSNR over RGB; SSIM per channel of RGB, uniform 7×7 (UHDFour's released test script).
    LPIPS (AlexNet, v0.1) sees what PSNR sees, clamped to [0, 1].

    An image without any error has no finite PSNR: it counts 100 dB in the mean, and the log says so.

    Args:
        protocol: see above.
        metrics: which of `psnr`, `ssim`, `lpips`.
        lpips_weights: for `lpips`: a file with both AlexNet and LPIPS's linear layers, or the two
            usual files (see `ppcore.metrics.lpips`).
        gt_mean: scale each output to the reference's mean luma first (see `psnr_ssim.match_mean`).
        crop: pixels left out at each border.

    Attributes:
        specs: of the means, in the order of `metrics`.
        per_image: what each image got, `{"index", "psnr", …}`, in the order seen by this process.

    Raises:
        ConfigError: an unknown protocol or metric, or `lpips` without weights.
    """

    primary_metric = "psnr"

    def __init__(
        self,
        *,
        protocol: Literal["paper", "official_code"] = "paper",
        metrics: Sequence[Literal["psnr", "ssim", "lpips"]] = ("psnr", "ssim"),
        lpips_weights: str | Sequence[str] | None = None,
        gt_mean: bool = False,
        crop: int = 0,
    ):
        if protocol not in ("paper", "official_code"):
            raise ConfigError(f"Metric.protocol must be paper or official_code, not {protocol!r}")
        if not metrics or not set(metrics) <= {"psnr", "ssim", "lpips"}:
            raise ConfigError(f"Metric.metrics must list some of psnr, ssim and lpips, got {list(metrics)}")
        if crop < 0:
            raise ConfigError(f"Metric.crop is a number of pixels, 0 or more, not {crop}")
        if ("lpips" in metrics) != (lpips_weights is not None):
            raise ConfigError(
                "Metric.metrics with lpips needs Metric.lpips_weights, and the other way round: give "
                "torchvision's alexnet file and LPIPS v0.1's alex.pth, or one file with both"
            )
        self.protocol, self.metrics, self.gt_mean, self.crop = protocol, list(dict.fromkeys(metrics)), gt_mean, crop
        self.specs = [_SPECS[name] for name in self.metrics]
        self.lpips: Any = None
        if lpips_weights is not None:
            from ppcore.metrics.lpips import load_lpips  # with Paddle, which this module does without

            self.lpips = load_lpips(lpips_weights)
        self.sums = np.zeros(2 + len(self.metrics))  # images, images without any error, sum of each metric
        self.per_image: list[dict[str, float]] = []

    def update(self, outputs, batch: dict) -> None:
        """Adds a batch.

        Args:
            outputs: [B, 3, H, W], or a tuple whose first is that (UHDFour in training mode).
            batch: `target` [B, 3, H, W] in [0, 1], and `index` [B] where there is one.

        Raises:
            DataError: the outputs are not of the references' size, or too small for SSIM.
        """
        images = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        images = np.asarray(images.astype("float32"), dtype=np.float64)
        targets = np.asarray(batch["target"], dtype=np.float64)
        if images.shape != targets.shape:
            raise DataError(f"the outputs are {list(images.shape)}, the references {list(targets.shape)}")
        indices = batch.get("index", np.arange(len(self.per_image), len(self.per_image) + len(images)))
        for index, image, target in zip(np.asarray(indices), images, targets, strict=True):
            found = self._measure(image.transpose(1, 2, 0), target.transpose(1, 2, 0))
            self.per_image.append({"index": int(index), **found})
            identical = found.get("psnr") == float("inf")
            values = [psnr_ssim.IDENTICAL_DB if v == float("inf") else v for v in found.values()]
            self.sums += [1, identical, *values]

    def _measure(self, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Numbers of one image [H, W, 3]."""
        inside = slice(self.crop, -self.crop or None)
        image, target = image[inside, inside], target[inside, inside]
        if image.size == 0:
            raise DataError(f"Metric.crop {self.crop} leaves nothing of an image")
        if self.gt_mean:
            image = psnr_ssim.match_mean(image, target)
        with np.errstate(invalid="ignore", over="ignore"):  # an output that is not finite has no number: NaN
            if self.protocol == "paper":
                image, target = psnr_ssim.round_to_8_bits(image), psnr_ssim.round_to_8_bits(target)
            found = {}
            for name in self.metrics:
                if name == "psnr":
                    found[name] = psnr_ssim.psnr(image, target)
                elif name == "lpips":
                    found[name] = self.lpips.distance(np.clip(image, 0.0, 1.0), np.clip(target, 0.0, 1.0))
                elif self.protocol == "paper":
                    found[name] = psnr_ssim.ssim(psnr_ssim.luma(image), psnr_ssim.luma(target))
                else:
                    found[name] = psnr_ssim.ssim(image, target, window="uniform")
        return found

    def compute(self) -> dict[str, float]:
        """`n` images and the mean of each metric: `psnr` in dB, `ssim`, `lpips`."""
        n, identical = int(self.sums[0]), int(self.sums[1])
        if n == 0:
            raise ConfigError("nothing was evaluated: the evaluation set has no readable image")
        if identical:
            log.warning("%d of %d images equal their reference: counted as %g dB", identical, n, psnr_ssim.IDENTICAL_DB)
        return {"n": n, **{name: float(total) / n for name, total in zip(self.metrics, self.sums[2:], strict=True)}}

    def describe(self) -> str:
        """The conventions of the numbers in one line, to be printed beside them."""
        if self.protocol == "paper":
            pixels, similarity = (
                "clamped and rounded to 8 bits",
                "SSIM on BT.601 luma (full range), Gaussian 11x11 sigma 1.5",
            )
        else:
            pixels, similarity = "float, unclamped", "SSIM mean of RGB channels, uniform 7x7 (scikit-image)"
        each = {"psnr": "PSNR over RGB", "ssim": similarity, "lpips": "LPIPS AlexNet v0.1"}
        extra = [f"{self.crop} px cropped at each border"] * bool(self.crop)
        extra += ["outputs scaled to the reference's mean luma (GT-mean)"] * self.gt_mean
        return "; ".join([f"protocol {self.protocol}: images {pixels}", *(each[m] for m in self.metrics), *extra])
