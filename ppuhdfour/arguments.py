"""Ranges of the arguments of `UHDFour`."""

from collections.abc import Mapping
from typing import Any

import paddle.nn as nn

from ppcore.errors import ConfigError
from ppcore.layers import checks


def check_arguments(owner: nn.Layer, given: Mapping[str, Any]) -> None:
    """Checks what the constructor was given.

    Args:
        owner: the network under construction.
        given: its arguments by name.

    Raises:
        ConfigError: one is out of its range, or two do not go together.
    """

    def of(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    checks.whole(owner, 2, **of("scale"))
    checks.whole(owner, 1, **of("extract", "tail"))
    checks.whole(owner, 0, **of("refine"))
    checks.whole(owner, 3, **of("fusion"))  # a channel a colour
    checks.wholes(owner, 4, **of("widths"))
    checks.flag(owner, **of("paper", "spatial", "fourier", "adjust_spatial", "raw"))
    checks.flag(owner, **of("modulate_amplitude", "guide_phase", "concat_low"))
    checks.choice(owner, ("fouspa", "residual"), **of("block", "adjust"))
    checks.choice(owner, ("torch", "identity"), **of("init"))
    checks.choice(owner, ("fft", "matmul"), **of("backend"))
    scale, widths = given["scale"], given["widths"]
    if scale % 2:
        raise ConfigError(f"UHDFour: scale is {scale}, but must be an even number from 2 on")
    if len(widths) != 3 or any(width % 4 for width in widths):
        raise ConfigError(f"UHDFour: widths are {list(widths)}, but must be three multiples of 4")
    if not (given["spatial"] or given["fourier"]):
        raise ConfigError("UHDFour: spatial and fourier are false, but a FouSpa block needs a branch")
    if given["backend"] == "matmul" and given["raw"]:
        raise ConfigError("UHDFour: raw is a property of the fft backend; backend is matmul")
