"""How a network computes for `tools/infer.py`: as it is, or exported once and run by an engine of `Predictor`."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import InferSection
from ppcore.deploy import engine_choice, manifest, tiles
from ppcore.deploy.engine_choice import Size
from ppcore.deploy.export import cached_export
from ppcore.deploy.export_spec import Padding
from ppcore.deploy.predictor import Predictor
from ppcore.errors import ConfigError, reason
from ppcore.model import traits

log = logging.getLogger("ppcore")

Network = Callable[[np.ndarray], np.ndarray]


def network(
    model: nn.Layer, weights: str, wanted: InferSection, device: str, spare: Path = Path(), sizes: Sequence[Size] = ()
) -> Network:
    """A function from float32 [1, 3, H, W] to the same, as `Infer` wants it computed.

    On a CPU a trained network is exported once, beside its weights, and run by a `Predictor`;
    `auto` takes what is installed and suits the sizes, and says so. On a GPU, and for methods without weights, the
    model runs itself.

    Args:
        model: in evaluation mode.
        weights: the file they came from.
        wanted: `engine`, `precision` and `tile`.
        device: `cpu` or `gpu`.
        spare: a folder for the exported network when that of the weights cannot be written.
        sizes: (height, width) of the photographs to come, for `auto`.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    exportable = traits(model).needs_weights
    if wanted.engine not in ("auto", "eager") and not exportable:
        raise ConfigError(f"Infer.engine: {type(model).__name__} has no weights and runs without an engine; use auto")
    if wanted.engine == "eager" or not exportable or (wanted.engine == "auto" and device == "gpu"):
        return eager(model, wanted)
    if wanted.engine != "auto":
        return _exported(model, weights, wanted.engine, wanted, spare)
    engines = engine_choice.for_photographs(wanted.precision)
    if len(engines) > 1:
        return BySize(_folder(model, Path(weights), "onnx", spare), wanted, sizes)
    if engines != ("openvino",):
        log.info("%s computes; the extra `deploy` brings OpenVINO, which is faster", engines[0])
    return _exported(model, weights, engines[0], wanted, spare)


def classifier(model: nn.Layer, weights: str, wanted: InferSection, device: str, spare: Path = Path()) -> Network:
    """A function from float32 [B, 3, H, W] to logits [B, K], as `Infer` wants it computed; the log says by what.

    Args:
        model: in evaluation mode.
        weights: the file they came from.
        wanted: `engine` and `precision`; `auto` is the model itself.
        device: `cpu` or `gpu`.
        spare: as for `network`.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    if wanted.tile is not None:
        raise ConfigError(f"Infer.tile: {type(model).__name__} makes no images; leave it out")
    if wanted.engine in ("auto", "eager"):
        log.info("%s on eager Paddle %s, %s", type(model).__name__, paddle.__version__, device)
        return eager(model, wanted)
    if wanted.rollout:
        raise ConfigError(
            f"Infer.rollout needs the network's attention, which an exported one does not give: "
            f"set Infer.engine=eager instead of {wanted.engine}"
        )
    if device == "gpu":
        log.info("Infer.engine=%s computes on the CPU", wanted.engine)
    compute = _exported(model, weights, wanted.engine, wanted, spare)
    return FixedBatch(compute) if wanted.engine == "openvino" else compute


def eager(model: nn.Layer, wanted: InferSection) -> Network:
    """The model as it is.

    Raises:
        ConfigError: another precision than fp32.
    """
    if wanted.precision != "fp32":
        raise ConfigError(
            f"Infer.precision: {wanted.precision} needs an exported network; set Infer.engine, such as openvino"
        )

    @paddle.no_grad()
    def compute(x: np.ndarray) -> np.ndarray:
        if wanted.tile is not None:
            return tiles.run_eager(model, paddle.to_tensor(x), wanted.tile)
        return model(paddle.to_tensor(x)).astype("float32").numpy()

    return compute


class FixedBatch:
    """Batches that are smaller than the first are filled up to it: an engine that compiles for every size does so once.

    Args:
        compute: [B, 3, H, W] -> [B, K].
    """

    def __init__(self, compute: Network):
        self.compute, self.size = compute, 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.size = self.size or len(x)
        missing = max(self.size - len(x), 0)
        full = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
        return self.compute(full)[: len(x)]


class BySize:
    """An exported network run by onnxruntime or OpenVINO, whichever suits the size (`engine_choice.by_size`).

    Args:
        folder: the export, with ONNX files.
        wanted: `precision` and `tile`.
        sizes: (height, width) of the photographs to come.
    """

    def __init__(self, folder: Path, wanted: InferSection, sizes: Sequence[Size]):
        self.folder, self.wanted = folder, wanted
        self.padding = manifest.read(folder).padding or Padding()
        padded = [self.padding.size(*size) for size in sizes]
        self.plan = engine_choice.by_size(padded)
        self.predictors: dict[str, Predictor] = {}
        if padded:
            log.info("Infer.engine=auto: %s", engine_choice.explain(padded, self.plan))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        size = self.padding.size(*x.shape[2:])
        if size not in self.plan:  # not announced
            self.plan |= engine_choice.by_size([size])
        engine = self.plan[size]
        if engine not in self.predictors:
            self.predictors[engine] = Predictor(self.folder, engine, self.wanted.precision, tile=self.wanted.tile)
        return self.predictors[engine](x)


def _exported(model: nn.Layer, weights: str, engine: str, wanted: InferSection, spare: Path) -> Predictor:
    folder = _folder(model, Path(weights), engine_choice.ENGINES[engine].format, spare)
    return Predictor(folder, engine, wanted.precision, tile=wanted.tile)


def _folder(model: nn.Layer, weights: Path, kind: str, spare: Path) -> Path:
    """The folder with the export: beside the weights, or in `spare` where those cannot be written beside."""
    folder = weights if weights.is_dir() else weights.parent
    if not os.access(folder, os.W_OK):
        log.info("%s cannot be written: the exported network goes to %s", folder, spare)
        folder = spare
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {reason(error)}") from None
    return cached_export(model, folder, (kind,))
