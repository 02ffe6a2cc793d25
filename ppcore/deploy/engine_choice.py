"""Which engine computes what: by what is installed, format and precision, with the measurements behind it.

OpenVINO is the fastest for classifiers on the CPUs measured, and for large photographs, with a third of onnxruntime's memory; it compiles
for each of these. Below, in float32, onnxruntime is faster, and a new size costs it nothing. Measured on two cores (docs/performance.md).
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ppcore.errors import ConfigError

Size = tuple[int, int]

# Pixels from which OpenVINO compiles for a photograph's own size: 3 to 5 s, once. At 8.3 megapixels that takes a quarter (bf16:
# a half) off each image, and a third (bf16: a half) off the memory.
OWN_SIZE_FROM = 4_000_000
ONNX_BYTES = 2**31 - 1  # what a file of ONNX, a message of protobuf, can hold
# Images times parameters from which a classifier's export pays: writing it takes 2 to 5 s, in which the model itself does
# some 150 images of 5.7 million parameters, or 15 of 86 million.
WORTH_EXPORTING = 1_000_000_000


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


def for_classifier(precision: str, device: str, images: int, parameters: int, *, attention: bool) -> tuple[str, str]:
    """What computes a classifier under `auto`, `eager` or of `ENGINES`, and why.

    Args:
        precision: `fp32` or `bf16`.
        device: `cpu` or `gpu`.
        images: how many there are.
        parameters: of the network.
        attention: whether attention maps are wanted, which an export does not give.

    Raises:
        ConfigError: nothing computes in that precision.
    """
    if attention:  # in another precision, `eager` is refused there
        return "eager", "an exported network gives no attention maps"
    if precision == "fp32":
        if device == "gpu":
            return "eager", "on a GPU"
        if images * parameters < WORTH_EXPORTING:
            return "eager", "so few images that exporting the network would take longer"
    too_large = 4 * parameters > ONNX_BYTES
    for name, kind in ENGINES.items():
        onnx = kind.format == "onnx"
        if installed(kind.package, *(["paddle2onnx"] if onnx else [])) and (kind.bf16 or precision == "fp32"):
            if onnx and too_large:
                continue
            why = "; extra `deploy`: OpenVINO" if name != "openvino" else ""
            return name, "too large for a file of ONNX" if too_large else f"the fastest that is installed{why}"
    raise ConfigError(f"Infer.precision: {precision} needs OpenVINO; install the extra 'deploy'")


def chosen_by_size(precision: str, *, writer: bool = True) -> bool:
    """Whether the size of a photograph's result decides: in float32, with onnxruntime and OpenVINO both there.

    Args:
        precision: `fp32` or `bf16`.
        writer: whether the export has still to be written, for which ONNX needs paddle2onnx.
    """
    return precision == "fp32" and installed("openvino", "onnxruntime", *(["paddle2onnx"] if writer else []))


def for_size(size: Sequence[int]) -> str:
    """Of onnxruntime, which prepares once for all sizes, and OpenVINO, which compiles a large one and needs a third of the memory."""
    return "openvino" if size[0] * size[1] >= OWN_SIZE_FROM else "onnxruntime"


def shares(sizes: Sequence[Size]) -> str:
    """What `for_size` makes of results of these sizes, one line."""
    large = {size for size in sizes if for_size(size) == "openvino"}
    small = len(set(sizes)) - len(large)
    parts = [f"onnxruntime for {_of(small, 'size')} below 4 megapixels (prepared once)"] if small or not large else []
    parts += [f"OpenVINO for {_of(len(large), 'larger size')} (compiled for each, kept)"] if large else []
    return ", ".join(parts)


def for_photographs(precision: str, sizes: Sequence[Size] = ()) -> tuple[str, str]:
    """The engine for a network of images that is still to be exported, and why.

    Args:
        precision: `fp32` or `bf16`.
        sizes: (height, width) of the results to come.
    """
    for name in ("openvino", "onnxruntime"):
        kind = ENGINES[name]
        if installed(kind.package, "paddle2onnx") and (kind.bf16 or precision == "fp32"):
            break
    else:
        name = "paddle"
    if name == "openvino":
        return name, compilations(sizes)
    return name, "the fastest that is installed; the extra `deploy` brings OpenVINO, which is faster"


def compilations(sizes: Sequence[Size]) -> str:
    """What OpenVINO compiles for results of these sizes, one line."""
    large = {size for size in sizes if size[0] * size[1] >= OWN_SIZE_FROM}
    small = len(set(sizes)) - len(large)
    parts = [f"one compilation for {_of(small, 'size')} below 4 megapixels"] if small or not large else []
    parts += [f"one each for {_of(len(large), 'larger size')}"] if large else []
    return f"the fastest that is installed; {', '.join(parts)}, kept for the next start"


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
