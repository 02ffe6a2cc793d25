"""What metrics of single images share: each image has its numbers, and the recorded ones are their means."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from ppcore.errors import ConfigError, DataError
from ppcore.metrics import psnr_ssim
from ppcore.metrics.spec import MetricSpec

log = logging.getLogger(__name__)


class OfImages(ABC):
    """Base of metrics that compare restored images with their references, one by one.

    An image without any error has no finite PSNR: it counts 100 dB in the mean, and the log says so.

    Args:
        specs: of the numbers that `measure` gives, in its order.

    Attributes:
        specs: of the means.
        sums: images, images without any error, sum of each number.
        per_image: what each image got, `{"index", "psnr", …}`, in the order seen by this process.
    """

    def __init__(self, specs: Iterable[MetricSpec]):
        self.specs = [*specs]
        self.sums = np.zeros(2 + len(self.specs))
        self.per_image: list[dict[str, float]] = []

    @abstractmethod
    def measure(self, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Numbers by their keys of one image [H, W, C] beside its reference, float64; inf where there is no error."""

    def update(self, outputs, batch: dict) -> None:
        """Adds a batch.

        Args:
            outputs: [B, C, H, W], or a tuple whose first is that (UHDFour in training mode).
            batch: `target` [B, C, H, W] in [0, 1], and `index` [B] where there is one.

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
            found = self.measure(image.transpose(1, 2, 0), target.transpose(1, 2, 0))
            self.per_image.append({"index": int(index), **found})
            identical = float("inf") in found.values()
            values = [psnr_ssim.IDENTICAL_DB if v == float("inf") else v for v in found.values()]
            self.sums += [1, identical, *values]

    def compute(self) -> dict[str, float]:
        """`n` images and the mean of each number: `psnr` in dB, `ssim`, …"""
        n, identical = int(self.sums[0]), int(self.sums[1])
        if n == 0:
            raise ConfigError("nothing was evaluated: the evaluation set has no readable image")
        if identical:
            log.warning("%d of %d images equal their reference: counted as %g dB", identical, n, psnr_ssim.IDENTICAL_DB)
        means = zip(self.specs, self.sums[2:], strict=True)
        return {"n": n, **{spec.key: float(total) / n for spec, total in means}}


def check_key(key: str) -> None:
    """Raises ConfigError unless a metric's `key` may stand in the keys of its numbers; "" may."""
    if key and not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", key):
        raise ConfigError(f"Metric.key is made of small letters, digits and _ (psnr_KEY), not {key!r}")
