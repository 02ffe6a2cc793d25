"""How a network computes for `tools/infer.py`: as it is, or exported once and run by an engine of `Predictor`."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import InferSection
from ppcore.deploy import engine_choice, tiles
from ppcore.deploy.by_size import BySize
from ppcore.deploy.engine_choice import Size
from ppcore.deploy.export_cache import cached_export
from ppcore.deploy.fixed_batch import FixedBatch
from ppcore.deploy.predictor import Predictor
from ppcore.errors import ConfigError
from ppcore.model import traits

log = logging.getLogger("ppcore")

Network = Callable[[np.ndarray], np.ndarray]


def network(model: nn.Layer, wanted: InferSection, device: str, folder: Path, sizes: Sequence[Size] = ()) -> Network:
    """A function from images, float32 [1, C, H, W], to images, as `Infer` wants it computed.

    On a CPU a trained network is exported once, into the run's folder, and run by a `Predictor`;
    `auto` takes the fastest that is installed and suits the sizes, and says so. On a GPU, and for methods without weights, the
    model runs itself.

    Args:
        model: in evaluation mode.
        wanted: `engine`, `precision` and `tile`.
        device: `cpu` or `gpu`.
        folder: of the run, in which the export is kept (`exported`).
        sizes: (height, width) of the results to come, for the log.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    _check_precision(wanted)
    exportable = traits(model).needs_weights
    if wanted.engine not in ("auto", "eager") and not exportable:
        raise ConfigError(f"Infer.engine: {type(model).__name__} has no weights and runs without an engine; use auto")
    if wanted.engine == "eager" or not exportable or (wanted.engine == "auto" and device == "gpu"):
        return eager(model, wanted)
    if wanted.engine != "auto":
        return _exported(model, wanted.engine, wanted, folder)
    if engine_choice.chosen_by_size(wanted.precision):
        return BySize(cached_export(model, folder, ("onnx",)), wanted.tile, sizes)
    engine, why = engine_choice.for_photographs(wanted.precision, sizes)
    log.info("Infer.engine=auto: %s, %s", engine, why)
    return _exported(model, engine, wanted, folder)


def classifier(model: nn.Layer, wanted: InferSection, device: str, folder: Path, images: int) -> Network:
    """A function from float32 [B, C, H, W] to logits [B, K], as `Infer` wants it computed; the log says by what.

    Args:
        model: in evaluation mode.
        wanted: `engine`, `precision` and `rollout`.
        device: `cpu` or `gpu`.
        images: how many are to come.
        folder: as for `network`.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    return exported_classifier(model, wanted, device, folder, images) or eager(model, wanted)


def exported_classifier(
    model: nn.Layer, wanted: InferSection, device: str, folder: Path, images: int
) -> "Exported | None":
    """The export of a classifier with the engine that `Infer` wants; None where the model itself is to compute.

    Arguments and errors are those of `classifier`.
    """
    wanted.refuse_image_keys(type(model).__name__)
    _check_precision(wanted)
    if wanted.engine not in ("auto", "eager") and wanted.rollout:
        raise ConfigError(
            f"Infer.rollout needs the network's attention, which an exported one does not give: "
            f"set Infer.engine=eager instead of {wanted.engine}"
        )
    engine, why = wanted.engine, "as Infer.engine says"
    if engine == "auto" and traits(model).other_sizes and wanted.precision == "fp32":
        engine, why = "eager", "it takes images of any size, its export of one"
    if engine == "auto":
        engine, why = engine_choice.for_classifier(
            wanted.precision, device, images, _parameters(model), attention=wanted.rollout
        )
    if engine == "eager":
        _check_eager(wanted)
        log.info("%s on eager Paddle %s, %s (%s)", type(model).__name__, paddle.__version__, device, why)
        return None
    if device == "gpu":
        log.info("Infer.engine=%s computes on the CPU", engine)
    log.info("%s computes (%s)", engine, why)
    return Exported(_exported(model, engine, wanted, folder))


def exported_images(model: nn.Layer, wanted: InferSection, folder: Path) -> "Exported | None":
    """The export of a network that makes images, where `Infer` names an engine or a precision that needs one; None where
    the model itself is to compute, as methods without weights always do.

    Raises:
        ConfigError: the wanted combination does not exist.
    """
    asked = wanted.engine not in ("auto", "eager") or wanted.precision != "fp32"
    if not asked or not traits(model).needs_weights:
        return None
    _check_precision(wanted)
    engine = wanted.engine
    if engine == "eager":
        eager(model, wanted)  # says that it has one precision
    if engine == "auto":
        engine, why = engine_choice.for_photographs(wanted.precision, ())
        log.info("Infer.engine=auto: %s, %s", engine, why)
    return Exported(_exported(model, engine, wanted, folder))


def _check_precision(wanted: InferSection) -> None:
    """int8 takes images to calibrate on, so it is never made on the way."""
    if wanted.precision == "int8":
        raise ConfigError(
            "Infer.precision: int8 needs an export that has this form: write it with tools/export_model.py "
            "-o Export.int8.images=FOLDER, and run it with tools/infer.py --export"
        )


def _parameters(model: nn.Layer) -> int:
    return sum(parameter.size for parameter in model.parameters())


class Exported:
    """An export: [B, C, H, W] -> [B, K], or to images [B, C, H', W'].

    Attributes:
        runs_on: engine, version and precision.
    """

    def __init__(self, predictor: Predictor):
        self.runs_on = predictor.runs_on
        fixed = predictor.engine == "openvino" and not predictor.makes_images
        self._compute = FixedBatch(predictor) if fixed else predictor

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._compute(x)


def _check_eager(wanted: InferSection) -> None:
    if wanted.precision != "fp32":
        raise ConfigError(
            f"Infer.precision: {wanted.precision} needs an exported network; set Infer.engine, such as openvino"
        )


def eager(model: nn.Layer, wanted: InferSection) -> Network:
    """The model as it is.

    Raises:
        ConfigError: another precision than fp32.
    """
    _check_eager(wanted)

    @paddle.no_grad()
    def compute(x: np.ndarray) -> np.ndarray:
        if wanted.tile is not None:
            return tiles.run_eager(model, paddle.to_tensor(x), wanted.tile)
        return model(paddle.to_tensor(x)).astype("float32").numpy()

    return compute


def _exported(model: nn.Layer, engine: str, wanted: InferSection, folder: Path) -> Predictor:
    kept = cached_export(model, folder, (engine_choice.ENGINES[engine].format,))
    return Predictor(kept, engine, wanted.precision, tile=wanted.tile)
