"""How images are measured: protocols by name, and what each convention does. The same image gets another number by each."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from ppcore.errors import ConfigError, nearest
from ppcore.metrics import psnr_ssim

Pixels = Literal["rounded", "truncated", "float", "unclamped"]
On = Literal["rgb", "luma", "luma8", "studio"]
Window = Literal["gaussian", "uniform"]
ProtocolName = Literal["paper", "official_code", "rounded", "truncated", "float", "uniform", "gray8", "studio"]

_PIXELS = {
    "rounded": ("clamped and rounded to 8 bits", psnr_ssim.round_to_8_bits),
    "truncated": ("clamped and truncated to 8 bits", psnr_ssim.truncate_to_8_bits),
    "float": ("float, clamped", lambda image: np.clip(image, 0.0, 1.0)),
    "unclamped": ("float, unclamped", lambda image: image),
}
_ON: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "rgb": ("RGB", lambda image: image),
    "luma": ("BT.601 luma (full range)", psnr_ssim.luma),
    "luma8": ("8-bit gray (OpenCV)", psnr_ssim.luma_8_bits),
    "studio": ("BT.601 Y (16 to 235)", lambda image: psnr_ssim.luma(image, studio=True)),
}
_WINDOW = {"gaussian": "Gaussian 11x11 sigma 1.5", "uniform": "uniform 7x7 (scikit-image)"}


@dataclass(frozen=True)
class Conventions:
    """What a protocol says.

    Attributes:
        pixels: `rounded` or `truncated` to 8 bits (a file, written with care or by a cast), `float` within [0, 1], or
            `unclamped`.
        psnr_on: what PSNR is over: `rgb`, `luma` (float, full range), `luma8` (8-bit gray, as OpenCV makes it of 8-bit
            colours), `studio` (Y of 16 to 235).
        ssim_on: what SSIM is over; of `rgb` the mean of the channels.
        window: of SSIM: `gaussian`, 11×11 with sigma 1.5, or `uniform`, 7×7; either inside the image.
    """

    pixels: Pixels = "rounded"
    psnr_on: On = "rgb"
    ssim_on: On = "rgb"
    window: Window = "gaussian"

    @property
    def pixels_text(self) -> str:
        """What is done to the images, in words."""
        return _PIXELS[self.pixels][0]

    def text(self, metric: str) -> str:
        """`psnr` or `ssim` in words."""
        on = _ON[self.psnr_on if metric == "psnr" else self.ssim_on][0]
        if metric == "psnr":
            return f"PSNR {'over' if self.psnr_on == 'rgb' else 'on'} {on}"
        where = "mean of RGB channels" if self.ssim_on == "rgb" else f"on {on}"
        return f"SSIM {where}, {_WINDOW[self.window]}"

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """A network's image [H, W, 3] as the protocol takes it, float64."""
        return _PIXELS[self.pixels][1](image)

    def prepare_reference(self, target: np.ndarray) -> np.ndarray:
        """The reference [H, W, 3] likewise; where outputs are truncated, it is rounded: nothing but a file gave it."""
        return psnr_ssim.round_to_8_bits(target) if self.pixels == "truncated" else self.prepare(target)

    def measure(self, metric: str, image: np.ndarray, target: np.ndarray) -> float:
        """`psnr` in dB or `ssim` of a prepared pair."""
        _, plane = _ON[self.psnr_on if metric == "psnr" else self.ssim_on]
        image, target = plane(image), plane(target)
        return psnr_ssim.psnr(image, target) if metric == "psnr" else psnr_ssim.ssim(image, target, window=self.window)

    def of(self, metric: str) -> dict[str, str]:
        """The conventions that a metric's number depends on."""
        concerned = {"psnr": ("pixels", "psnr_on"), "ssim": ("pixels", "ssim_on", "window")}.get(metric, ("pixels",))
        return {name: value for name, value in asdict(self).items() if name in concerned}


# `paper` and `official_code` are of arXiv 2302.11831, see `ImageQuality`. The others say what they are; who published by
# which is in papers/*.yaml.
PROTOCOLS = {
    "paper": Conventions(ssim_on="luma"),
    "official_code": Conventions("unclamped", window="uniform"),
    "rounded": Conventions(),
    "truncated": Conventions("truncated"),
    "float": Conventions("float"),
    "uniform": Conventions(window="uniform"),
    "gray8": Conventions(ssim_on="luma8", window="uniform"),
    "studio": Conventions(psnr_on="studio", ssim_on="studio"),
}


def conventions(protocol: str, **given: str | None) -> Conventions:
    """A protocol by name, with what is given (not None) in place of its own.

    Raises:
        ConfigError: there is no such protocol or convention.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(
            f"Metric.protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}{nearest(protocol, PROTOCOLS)}"
        )
    known = {"pixels": _PIXELS, "psnr_on": _ON, "ssim_on": _ON, "window": _WINDOW}
    for name, value in given.items():
        if value is not None and value not in known[name]:
            raise ConfigError(f"Metric.{name} must be one of {', '.join(known[name])}, not {value!r}")
    return replace(PROTOCOLS[protocol], **{name: value for name, value in given.items() if value is not None})
