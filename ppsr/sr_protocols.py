"""How a super-resolution figure is made, by name: what is shrunk and rounded, what the network sees, what is compared.

The same network gets numbers up to 0.7 dB apart by these. Whose figures are by which protocol is in `papers/`.
"""

import zlib
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np

from ppcore.data.images.matlab_resize import BORDERS, Border
from ppcore.data.images.ycbcr import Y_NAMES, YName
from ppcore.data.ranges import check, check_choice
from ppcore.errors import ConfigError, nearest

ProtocolName = Literal[
    "matlab_y8_replicate",
    "matlab_y8_symmetric",
    "matlab_y8_symmetric_clip16",
    "float_y",
    "lr_u8",
    "rgb_u8",
    "pil_nocrop",
]
Resizer = Literal["matlab", "pillow"]
Fit = Literal["crop", "resize"]
Shrunk = Literal["y", "rgb"]
Pixels = Literal["rounded", "float"]
_TEXT = {
    "crop": "cropped to a multiple of the scale",
    "resize": "RESIZED to a multiple of the scale",
    "matlab": "Y of 16 to 235 (MATLAB)",
    "slip": "Y of 16 to 235 with 64.738 for 65.738",
    "full": "Y of 0 to 255",
}


@dataclass(frozen=True)
class Making:
    """How the low-resolution image, the network's input and the reference are made.

    Attributes:
        resizer: `matlab` (`ppcore.data.images.matlab_resize`) or `pillow`, both bicubic.
        border: of MATLAB's: `replicate` (older) or `symmetric` (newer).
        fit: how the reference gets a size that is a multiple of the scale: `crop`, or `resize`, which smooths it.
        shrunk: `y`: Y in floating point, nothing rounded; `rgb`: the colours, rounded to 8 bits.
        enlarged: what the bicubic image is made of, `y` or `rgb`, likewise.
        y: the formula, see `ppcore.data.images.ycbcr.y_of`.
        y8: whether Y is rounded to 8 bits, before it is shrunk where `y` is.
        clip16: whether the bicubic Y is clipped to [16/255, 235/255].
    """

    resizer: Resizer = "matlab"
    border: Border = "replicate"
    fit: Fit = "crop"
    shrunk: Shrunk = "y"
    enlarged: Shrunk = "y"
    y: YName = "matlab"
    y8: bool = True
    clip16: bool = False

    def __post_init__(self):
        choices = {
            "resizer": ("matlab", "pillow"), "border": BORDERS, "fit": ("crop", "resize"), "shrunk": ("y", "rgb"),
            "enlarged": ("y", "rgb"), "y": Y_NAMES,
        }  # fmt: skip
        for name, known in choices.items():
            check_choice("protocol", name, self.__dict__[name], known)
        kept = self.shrunk == "rgb" or self.enlarged == "y"
        check(kept, "protocol", "enlarged", "rgb", "y where Y is shrunk: there are no colours to enlarge")
        kept = self.resizer == "matlab" or self.enlarged == "rgb"
        check(kept, "protocol", "resizer", "pillow", "used with shrunk and enlarged rgb: it resizes 8-bit colours")

    @property
    def fingerprint(self) -> int:
        """A number by which a metric knows that its images were made as it says."""
        return zlib.crc32(repr(astuple(self)).encode())

    def text(self) -> str:
        """In words."""
        how = "Pillow bicubic" if self.resizer == "pillow" else f"MATLAB imresize, {self.border} border"
        rounded = f"{_TEXT[self.y]}, {'rounded to 8 bits' if self.y8 else 'not rounded'}"
        shrunk = "Y shrunk in float" if self.shrunk == "y" else "LR of 8-bit RGB"
        enlarged = "bicubic of Y in float" if self.enlarged == "y" else "bicubic of 8-bit RGB"
        clip = ", clipped to 16..235" if self.clip16 else ""
        return f"reference {_TEXT[self.fit]}; {rounded}; {how}; {shrunk}; {enlarged}{clip}"


@dataclass(frozen=True)
class Protocol:
    """A figure's whole protocol.

    Attributes:
        making: of the images.
        pixels: `rounded`: the network's Y is clipped and rounded to 8 bits; `float`: clipped to [0, 1].
        shave: pixels left out at each border; None leaves out as many as the scale.
    """

    making: Making = Making()
    pixels: Pixels = "rounded"
    shave: int | None = None

    def __post_init__(self):
        check_choice("protocol", "pixels", self.pixels, ("rounded", "float"))
        check(self.shave is None or self.shave >= 0, "protocol", "shave", self.shave, "0 or more pixels, or null")

    def text(self, scale: int | None = None) -> str:
        """In words, for a scale where it is known."""
        pixels = "output clipped and rounded to 8 bits" if self.pixels == "rounded" else "output clipped, float"
        width = scale if self.shave is None else self.shave
        shaved = f"{'scale' if width is None else width} px shaved at each border"
        return f"{self.making.text()}; {pixels}; {shaved}"

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """An output or a reference in [0, 1] as it is compared, float64; both are treated alike."""
        image = np.asarray(image, np.float64).clip(0.0, 1.0)
        return np.rint(image * 255.0) / 255.0 if self.pixels == "rounded" else image


_FLOAT = Making(border="symmetric", y8=False)
PROTOCOLS = {
    "matlab_y8_replicate": Protocol(),
    "matlab_y8_symmetric": Protocol(Making(border="symmetric")),
    "matlab_y8_symmetric_clip16": Protocol(Making(border="symmetric", clip16=True)),
    "float_y": Protocol(_FLOAT, "float"),
    "lr_u8": Protocol(replace(_FLOAT, shrunk="rgb"), "float"),
    "rgb_u8": Protocol(Making(shrunk="rgb", enlarged="rgb")),
    "pil_nocrop": Protocol(Making("pillow", "symmetric", "resize", "rgb", "rgb", "slip", y8=False), "float", 0),
}


def protocol_of(name: str, **changes: Any) -> Protocol:
    """A protocol by name, with what is given (not None) in place of its own.

    Args:
        name: of `PROTOCOLS`.
        changes: attributes of `Making` and `Protocol`.

    Raises:
        ConfigError: there is no such protocol, a value is none of its choices, or they do not go together.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {name!r}{nearest(name, PROTOCOLS)}")
    own, given = PROTOCOLS[name], {key: value for key, value in changes.items() if value is not None}
    measured = {key: given.pop(key) for key in ("pixels", "shave") if key in given}
    return replace(own, making=replace(own.making, **given), **measured)
