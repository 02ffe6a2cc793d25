"""PSNR-Y and SSIM-Y: how near enlarged images are to their references, by a named protocol."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from ppcore.data.images.matlab_resize import Border
from ppcore.data.images.ycbcr import YName, y_of
from ppcore.errors import ConfigError, DataError
from ppcore.metrics import MetricSpec
from ppcore.metrics.of_images import OfImages, check_key
from ppcore.metrics.psnr_ssim import psnr, ssim
from ppsr.sr_protocols import PROTOCOLS, Fit, Pixels, Protocol, ProtocolName, Resizer, Shrunk, protocol_of

_SPECS = {
    "psnr": MetricSpec("psnr_y", "PSNR-Y", "PSNR of Y", "dB", digits=2),
    "ssim": MetricSpec("ssim_y", "SSIM-Y", "SSIM of Y"),
}


class LumaQuality(OfImages):
    """PSNR and SSIM on Y inside a border that is left out, each the mean over the images.

    | protocol | Y | low resolution | output | border left out | whose |
    |---|---|---|---|---|---|
    | `matlab_y8_replicate` | 8 bits | Y, older MATLAB | 8 bits | scale | SRCNN, FSRCNN |
    | `matlab_y8_symmetric` | 8 bits | Y, newer MATLAB | 8 bits | scale | |
    | `matlab_y8_symmetric_clip16` | 8 bits | likewise, bicubic clipped to 16..235 | 8 bits | scale | VDSR |
    | `float_y` | float | Y, newer MATLAB | float | scale | pytorch-vdsr |
    | `lr_u8` | float | 8-bit RGB, newer MATLAB | float | scale | BasicSR, today's benchmarks |
    | `rgb_u8` | 8 bits | 8-bit RGB, as is the bicubic; older MATLAB | 8 bits | scale | SelfExSR |
    | `pil_nocrop` | float, wrong coefficient | 8-bit RGB by Pillow, reference resized | float | none | yjn870 |

    SSIM has a Gaussian window 11×11 inside what is left. Outputs of one channel are Y; of three, RGB, whose Y is taken,
    rounded where the protocol's is.

    Numbers are recorded as `psnr_y` and `ssim_y`; what makes others of them stands in their keys: `key`, or else the
    arguments that differ from the protocol (`psnr_y_shave0`).

    The samples are those of `ppsr.DegradedImages` with the same protocol and arguments: its `scale` is the border, and images
    that were made otherwise than the numbers would say are refused.

    Args:
        protocol: see above.
        metrics: which of `psnr` and `ssim`.
        shave: pixels left out at each border; None: as the protocol says.
        pixels: see `ppsr.sr_protocols.Protocol`; None: as the protocol says.
        resizer: see `ppsr.sr_protocols.Making`; None: likewise, and so the others.
        border: likewise.
        fit: likewise.
        shrunk: likewise.
        enlarged: likewise.
        y: likewise.
        y8: likewise.
        clip16: likewise.
        key: what the numbers are told apart by where several metrics stand side by side: `psnr_y_KEY`.

    Raises:
        ConfigError: an unknown protocol, metric or choice.
    """

    primary_metric = "psnr_y"

    def __init__(
        self,
        *,
        protocol: ProtocolName = "matlab_y8_replicate",
        metrics: Sequence[Literal["psnr", "ssim"]] = ("psnr", "ssim"),
        shave: int | None = None,
        pixels: Pixels | None = None,
        resizer: Resizer | None = None,
        border: Border | None = None,
        fit: Fit | None = None,
        shrunk: Shrunk | None = None,
        enlarged: Shrunk | None = None,
        y: YName | None = None,
        y8: bool | None = None,
        clip16: bool | None = None,
        key: str = "",
    ):
        if not metrics or not set(metrics) <= set(_SPECS):
            raise ConfigError(f"Metric.metrics must list some of psnr and ssim, got {list(metrics)}")
        check_key(key)
        self.protocol = protocol_of(
            protocol, shave=shave, pixels=pixels, resizer=resizer, border=border, fit=fit, shrunk=shrunk,
            enlarged=enlarged, y=y, y8=y8, clip16=clip16,
        )  # fmt: skip
        self.name, self.key = protocol, key
        words = key.split("_") if key else _changes(self.protocol, PROTOCOLS[protocol])
        self.metrics = {name: _named(_SPECS[name], words) for name in dict.fromkeys(metrics)}
        super().__init__(self.metrics.values())
        self.primary_metric = self.specs[0].key
        self._shave: int | None = self.protocol.shave

    def update(self, outputs, batch: dict) -> None:
        """Adds a batch of one scale: `target` [B, 1 or 3, H, W], `scale` [B] and `protocol` [B] of `DegradedImages`.

        Raises:
            ConfigError: the samples say no scale, or were made by another protocol.
            DataError: the outputs are not of the references' size, or too small.
        """
        if not {"scale", "protocol"} <= batch.keys():
            raise ConfigError("LumaQuality: the samples say no scale and protocol: use it with ppsr.DegradedImages")
        scales = np.unique(np.asarray(batch["scale"]))
        if self.protocol.shave is None and len(scales) != 1:
            raise ConfigError(f"LumaQuality: a batch has images of scales {scales.tolist()}: evaluate each by itself")
        if set(np.asarray(batch["protocol"]).tolist()) != {self.protocol.making.fingerprint}:
            raise ConfigError(
                f"LumaQuality: DataLoader.Eval makes images otherwise than protocol {self.name} with the arguments of "
                "Metric: give both the same"
            )
        self._shave = int(scales[0]) if self.protocol.shave is None else self.protocol.shave
        super().update(outputs, batch)

    def measure(self, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        inside = slice(self._shave, -self._shave or None)
        image, target = image[inside, inside], target[inside, inside]
        if image.size == 0:
            raise DataError(f"leaving out {self._shave} pixels at each border leaves nothing of an image")
        with np.errstate(invalid="ignore"):  # an output that is not finite has no number: NaN
            image, target = self._y(image), self._y(target)
            measures = {"psnr": psnr, "ssim": ssim}
            return {spec.key: measures[name](image, target) for name, spec in self.metrics.items()}

    def _y(self, image: np.ndarray) -> np.ndarray:
        """Y [H, W] of an output or a reference [H, W, 1 or 3], as it is compared."""
        image = self.protocol.prepare(image)
        if image.shape[2] == 1:
            return image[..., 0]
        return y_of(image, self.protocol.making.y, y8=self.protocol.making.y8)

    def describe(self) -> str:
        """The protocol in one line, to be printed beside the numbers."""
        changed = ", changed" if self.protocol != PROTOCOLS[self.name] else ""
        called = f" ({self.key})" if self.key not in ("", self.name) else ""
        similar = "; SSIM Gaussian 11x11 sigma 1.5" if "ssim" in self.metrics else ""
        return f"protocol {self.name}{changed}{called}: {self.protocol.text(self._shave)}{similar}"


def _named(spec: MetricSpec, words: Sequence[str]) -> MetricSpec:
    """A spec with what its number is told apart by."""
    name = " ".join([spec.name, *words])
    return replace(spec, key="_".join([spec.key, *words]), name=name, title=name) if words else spec


def _changes(protocol: Protocol, own: Protocol) -> list[str]:
    """The values that differ from the named protocol's, as words."""
    found, before = ({**asdict(p.making), "pixels": p.pixels, "shave": p.shave} for p in (protocol, own))
    changed = {name: value for name, value in found.items() if value != before[name]}
    return [_word(name, value) for name, value in changed.items()]


def _word(name: str, value: str | int | bool) -> str:
    if isinstance(value, str):
        return f"{name}{value}" if name in ("shrunk", "enlarged", "y") else value
    if isinstance(value, bool):
        return name if value else f"{name}off"
    return f"{name}{value}"
