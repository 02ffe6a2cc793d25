"""Which engine computes what: by what is installed, format, precision and sizes, with the measurements behind it.

OpenVINO is the fastest on the CPUs measured, but compiles for every size it meets; onnxruntime prepares once for all.
OpenVINO then computes a wide network a little faster and needs a third of the memory. Measured with UHDFour on two
cores at 0.24 to 8.3 megapixels (RESULTS.md).
"""

import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ppcore.errors import ConfigError

Size = tuple[int, int]

COMPILE = 3.5  # seconds OpenVINO takes to compile for a size (2.6 to 3.9)
LOAD = 2.0  # seconds onnxruntime takes to prepare, once (1.7 to 2.5)
SAVED = 0.1  # seconds a megapixel that OpenVINO is faster (0.08 to 0.2; with a narrow network none)
LARGE = (
    6.0  # megapixels from which memory decides: onnxruntime takes 2.3 GB there (377 bytes a pixel for OpenVINO's 113)
)
# Images times parameters from which a classifier's export pays: writing it takes 2 to 5 s, in which the model itself does
# some 150 images of 5.7 million parameters, or 15 of 86 million.
WORTH_EXPORTING = 1_000_000_000
KEPT = 4  # sizes that OpenVINO keeps ready; beyond, sizes that alternate would be compiled again and again


class Engine(NamedTuple):
    """What runs an export.

    Attributes:
        package: that must be installed.
        format: that the export must have.
        bf16: whether it has that precision on a CPU.
        int8: likewise.
        home: module and class, a `ppcore.deploy.runtimes.Runtime`.
    """

    package: str
    format: str
    bf16: bool
    int8: bool
    home: tuple[str, str]


# Fastest first.
ENGINES = {
    "openvino": Engine("openvino", "onnx", True, True, ("ppcore.deploy.runtimes.openvino_runtime", "OpenVINO")),
    "onnxruntime": Engine("onnxruntime", "onnx", False, True, ("ppcore.deploy.runtimes.onnx_runtime", "OnnxRuntime")),
    "paddle": Engine("paddle", "paddle", True, False, ("ppcore.deploy.runtimes.paddle_inference", "PaddleInference")),
}


def installed(*packages: str) -> bool:
    """Whether all of them are."""
    return all(importlib.util.find_spec(package) for package in packages)


def runtime(engine: str) -> Any:
    """The class of an engine, a `ppcore.deploy.runtimes.Runtime`; imports it."""
    module, name = ENGINES[engine].home
    return getattr(importlib.import_module(module), name)


def for_export(engine: str, precision: str, formats: Sequence[str], folder: Path) -> tuple[str, str]:
    """The engine for an export that is there, and why: the one asked for, or with `auto` the fastest there is.

    Args:
        engine: `auto`, or of `ENGINES`.
        precision: `fp32`, `bf16` or `int8`.
        formats: of the export.
        folder: of the export, for the message.

    Raises:
        ConfigError: there is none.
    """
    if engine != "auto" and engine not in ENGINES:
        raise ConfigError(f"engine: {engine!r} is none; choose from auto, {', '.join(ENGINES)}")
    reasons = []
    for name in ENGINES if engine == "auto" else (engine,):
        kind = ENGINES[name]
        if kind.format not in formats:
            reasons.append(f"{name} needs format {kind.format}, {folder} has {', '.join(formats)}")
        elif not installed(kind.package):
            reasons.append(f"{name} is not installed (extra 'deploy')")
        elif engine == "auto" and precision == "bf16" and not kind.bf16:
            reasons.append(f"{name} has no bf16 on CPUs")
        elif precision == "int8" and not kind.int8:
            reasons.append(f"{name} does not read the int8 form")
        else:
            return name, "as asked for" if engine != "auto" else "; ".join(["the fastest that can", *reasons])
    raise ConfigError(f"engine {engine}: {'; '.join(reasons)}")


def for_classifier(precision: str, device: str, work: int, *, attention: bool) -> tuple[str, str]:
    """What computes a classifier under `auto`, `eager` or of `ENGINES`, and why.

    Args:
        precision: `fp32`, `bf16` or `int8`.
        device: `cpu` or `gpu`.
        work: images times parameters.
        attention: whether attention maps are wanted, which an export does not give.
    """
    if precision == "fp32":
        if attention:
            return "eager", "an exported network gives no attention maps"
        if device == "gpu":
            return "eager", "on a GPU"
        if work < WORTH_EXPORTING:
            return "eager", "so few images that exporting the network would take longer"
    for name, kind in ENGINES.items():
        writer = ("paddle2onnx",) if kind.format == "onnx" else ()
        if installed(kind.package, *writer) and (kind.bf16 or precision == "fp32"):
            return name, "the fastest that is installed" + ("" if name == "openvino" else "; extra `deploy`: OpenVINO")
    raise ConfigError(f"Infer.precision: {precision} needs OpenVINO; install the extra 'deploy'")


def for_photographs(precision: str, *, writer: bool = True) -> tuple[str, ...]:
    """The engines among which a photograph's size decides: OpenVINO and onnxruntime, one of them, or `paddle` alone.

    Args:
        precision: `fp32` or `bf16`.
        writer: whether the export has still to be written, for which ONNX needs paddle2onnx.
    """
    needed = ("paddle2onnx",) if writer else ()
    names = [
        name
        for name, kind in ENGINES.items()
        if kind.format == "onnx" and (kind.bf16 or precision != "bf16") and installed(kind.package, *needed)
    ]
    return tuple(names) or ("paddle",)


def by_size(sizes: Iterable[Size]) -> dict[Size, str]:
    """`openvino` or `onnxruntime` for each size: OpenVINO where a size is large, or repeats enough to pay for compiling.

    Args:
        sizes: (height, width) of every photograph as the network sees it, repeats included.
    """
    count = Counter(sizes)
    won = {size: number * _megapixels(size) * SAVED - COMPILE for size, number in count.items()}
    large = {size for size in count if _megapixels(size) >= LARGE}
    paying = sorted((size for size in count if size not in large and won[size] > 0), key=lambda size: -won[size])
    compiled = large | set(paying[: max(KEPT - len(large), 0)])
    rest = [size for size in count if size not in compiled]
    # Without any other size onnxruntime need not be prepared, which may outweigh what compiling loses.
    if len(count) <= KEPT and sum(won[size] for size in rest) + LOAD > 0:
        compiled |= set(rest)
    return {size: "openvino" if size in compiled else "onnxruntime" for size in count}


def explain(sizes: Iterable[Size], chosen: dict[Size, str]) -> str:
    """One line: how many photographs each engine computes, and why."""
    count = Counter(sizes)
    parts = []
    for engine, name, why in (
        ("onnxruntime", "onnxruntime", f"OpenVINO would compile for each size, about {COMPILE:g} s"),
        ("openvino", "OpenVINO", "compiled for a size that is large or repeats"),
    ):
        mine = [size for size in count if chosen[size] == engine]
        if mine:
            number = sum(count[size] for size in mine)
            parts.append(f"{name} for {_of(number, 'photograph')} of {_of(len(mine), 'size')} ({why})")
    return "; ".join(parts)


def _megapixels(size: Size) -> float:
    return size[0] * size[1] / 1e6


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
