"""Whether an export computes what its model does: compared when it is written, and not written where it does not."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore.deploy import engine_choice
from ppcore.deploy.export_spec import ExportSpec, Stage
from ppcore.deploy.manifest import Manifest
from ppcore.deploy.predictor import Predictor
from ppcore.errors import ConfigError

log = logging.getLogger("ppcore")

# Inputs: two images, so that the batch is not one; sizes that fit no padding rule for networks that take any.
BATCH = 2
SIZES = ((61, 83), (96, 72))
# onnxruntime first: it prepares once for all sizes.
CHECKED_BY = {"onnx": ("onnxruntime", "openvino"), "paddle": ("paddle",)}
# The mean difference, in the same unit as `ExportSpec.tolerance`: rare jumps may be large, the whole may not.
MEAN = 1e-4
# The same two in bfloat16 (8 bits), for classifiers: some percent are rounding, half is another function.
SHORT, SHORT_MEAN = 0.15, 0.05


def agreement(
    model: nn.Layer, spec: ExportSpec, folder: Path, manifest: Manifest, in_graph: Stage | None = None
) -> dict[str, dict[str, Any]]:
    """Compares every format of an export with the model on random images, and says how far they are apart.

    Args:
        model: in evaluation mode.
        spec: what was exported.
        folder: with the files and manifest.json.
        manifest: its content.
        in_graph: the additional graph, if there is one; its formats are `<format> uint8`.

    Returns:
        By format: `engine`, `max_difference` (absolute), `relative` (over the largest absolute value of the model's
        results), `images` and `sizes` (of an image, as the graph takes it). A format that no installed engine reads is
        left out, and the log says so. Of a classifier also `onnx bf16`, where OpenVINO and the processor have it.

    Raises:
        ConfigError: they differ by more than `spec.tolerance`, or in bfloat16 by more than `SHORT`.
    """
    found, inputs = {}, _inputs(spec)
    for name in manifest.formats:
        engine = next((e for e in CHECKED_BY[name] if engine_choice.installed(engine_choice.ENGINES[e].package)), None)
        if engine is None:
            log.warning("%s: not compared with the model: install one of %s", name, ", ".join(CHECKED_BY[name]))
            continue
        predictor = Predictor(folder, engine, quiet=True)
        found[name] = _compared(predictor, model, inputs, predictor.runs_on, (spec.tolerance, MEAN), manifest.arch)
        if in_graph is not None:
            content = replace(manifest, stages=[manifest.in_graph])
            runtime = engine_choice.runtime(engine)(folder, content, "fp32", None)
            found[f"{name} {in_graph.name}"] = _compared(
                lambda image, run=runtime.run: run(in_graph.name, {"image": image})[0],
                in_graph.layer, _bytes(in_graph), predictor.runs_on, (spec.tolerance, MEAN), manifest.arch,
            )  # fmt: skip
    if spec.padding is None and "onnx" in found and (short := _in_bfloat16(folder)) is not None:
        found["onnx bf16"] = _compared(short, model, inputs, short.runs_on, (SHORT, SHORT_MEAN), manifest.arch)
    for name, facts in found.items():
        log.info(
            "%s agrees with the model: max |difference| %.1e, %.1e of the largest value (%s)",
            name, facts["max_difference"], facts["relative"], facts["engine"],
        )  # fmt: skip
    return found


def _in_bfloat16(folder: Path) -> Predictor | None:
    """OpenVINO in bfloat16, if it is installed and the processor has that."""
    if not engine_choice.installed("openvino"):
        return None
    try:
        return Predictor(folder, "openvino", "bf16", quiet=True)
    except ConfigError:
        return None


def _inputs(spec: ExportSpec) -> list[np.ndarray]:
    """Random images: standard normal for classifiers, whose input is normalised, else dark ones in [0, 1]."""
    rng = np.random.default_rng(0)
    _, channels, height, width = spec.stages[0].inputs["x"]
    if spec.padding is None:
        size = (height or 64, width or 64)
        return [rng.standard_normal((BATCH, channels, *size)).astype(np.float32)]
    return [rng.random((BATCH, channels, *size), np.float32) * np.float32(0.5) for size in SIZES]


def _bytes(stage: Stage) -> list[np.ndarray]:
    _, height, width, channels = stage.inputs["image"]
    size = (height or 64, width or 64)
    return [np.random.default_rng(0).integers(0, 256, (BATCH, *size, channels), np.uint8)]


def _compared(
    compute: Callable[[np.ndarray], np.ndarray],
    model: nn.Layer,
    inputs: list[np.ndarray],
    runs_on: str,
    allowed: tuple[float, float],
    arch: str,
) -> dict[str, Any]:
    """The largest and the mean difference, over the largest value, must stay within what is `allowed`."""
    worst = relative = mean = np.float32(0)
    for x in inputs:
        with paddle.no_grad():
            wanted = model(paddle.to_tensor(x)).astype("float32").numpy()
        got = compute(x)
        if got.shape != wanted.shape:
            raise ConfigError(
                f"export: {runs_on} gives {list(got.shape)} where {arch} gives {list(wanted.shape)}: its export_spec() says "
                "another scale or form; nothing was written"
            )
        difference = np.abs(got - wanted)
        scale = np.maximum(np.abs(wanted).max(), np.finfo(np.float32).tiny)
        # np.maximum keeps NaN; Python's max would drop it.
        worst, relative = np.maximum(worst, difference.max()), np.maximum(relative, difference.max() / scale)
        mean = np.maximum(mean, difference.mean() / scale)
    if not (relative <= allowed[0] and mean <= allowed[1]):  # NaN is no agreement
        raise ConfigError(
            f"export: {runs_on} computes something else than {arch}: max |difference| {worst:.1e}, "
            f"{relative:.1e} of the largest value (allowed {allowed[0]:.0e}), on average {mean:.1e} (allowed {allowed[1]:.0e}); "
            "nothing was written"
        )
    return {
        "engine": runs_on, "max_difference": float(worst), "relative": float(relative),
        "images": sum(len(x) for x in inputs), "sizes": [list(x.shape[1:]) for x in inputs],
    }  # fmt: skip
