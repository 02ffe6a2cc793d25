"""The network that enhances photographs: exported once and run by the fastest engine there is, or as it is."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.nn as nn

from ppcore import tiling
from ppcore.config import InferSection
from ppcore.engine.events import log
from ppcore.errors import ConfigError


def network(
    model: nn.Layer, weights: str, wanted: InferSection, device: str, spare: Path = Path()
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 [1, 3, H, W] to the same, as `Infer` wants it computed.

    On a CPU a trained network is exported once, beside its weights, and run by `ppcore.predictor`;
    `auto` takes what is installed and says so. On a GPU, and for methods without weights, the model runs itself.

    Args:
        model: in evaluation mode.
        weights: the file they came from.
        wanted: `engine`, `precision` and `tile`.
        device: `cpu` or `gpu`.
        spare: a folder for the exported network when that of the weights cannot be written.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    exportable = getattr(model, "needs_weights", True)
    choice = wanted.engine
    if choice not in ("auto", "eager") and not exportable:
        raise ConfigError(f"Infer.engine: {type(model).__name__} has no weights and runs without an engine; use auto")
    if choice == "eager" or not exportable or (choice == "auto" and device == "gpu"):
        return eager(model, wanted)
    return exported(model, Path(weights), wanted, spare)


def eager(model: nn.Layer, wanted: InferSection) -> Callable[[np.ndarray], np.ndarray]:
    """The model as it is."""
    if wanted.precision != "fp32":
        raise ConfigError(f"Infer.precision: {wanted.precision} needs an exported network; set Infer.engine")

    @paddle.no_grad()
    def compute(x: np.ndarray) -> np.ndarray:
        if wanted.tile is not None:
            return tiling.run_tiled(model, paddle.to_tensor(x), wanted.tile)
        return model(paddle.to_tensor(x)).numpy()

    return compute


def exported(model: nn.Layer, weights: Path, wanted: InferSection, spare: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The model behind `ppcore.predictor`, exported beside its weights unless that has been done."""
    from ppcore.export import cached_export
    from ppcore.predictor import Predictor

    engine = wanted.engine
    if engine == "auto":
        # onnxruntime has no bf16 on CPUs.
        names = ("openvino",) if wanted.precision == "bf16" else ("openvino", "onnxruntime")
        engine = next((name for name in names if _installed(name, "paddle2onnx")), "paddle")
        if engine != "openvino":
            log.info("%s computes; the extra `deploy` brings OpenVINO, which is faster", engine)
    folder = weights if weights.is_dir() else weights.parent
    if not os.access(folder, os.W_OK):
        log.info("%s cannot be written: the exported network goes to %s", folder, spare)
        folder = spare
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from None
    folder = cached_export(model, folder, ("paddle",) if engine == "paddle" else ("onnx",))
    return Predictor(folder, engine, wanted.precision, tile=wanted.tile)


def _installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)
