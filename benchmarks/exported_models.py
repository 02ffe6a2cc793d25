"""One network with one set of weights, in the files of every contender, and what it computes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fresh_process import measured
from benchmarks.inference_contenders import images
from benchmarks.turns import reason
from ppcore.errors import PPError


def prepare(
    spec: Mapping[str, Any], folder: Path, *, batch: int, formats: list[str], needs: set[str], threads: int
) -> dict[str, Any]:
    """Builds our network with random weights and writes it for everybody.

    Every parameter is moved from its initial value, so that no bias is zero and no scale one: a contender that leaves one out
    would show.

    Args:
        spec: a model of benchmarks/infer.yaml.
        folder: to write into.
        batch: images of the reference logits.
        formats: of our export.
        needs: what the contenders take besides: `weights_LAYOUT`, `onnx` (timm's), `int8` (such a form in our export, calibrated on
            the random images of the measurement: good for speed, not for accuracy).
        threads: of the peer's exporter.

    Returns:
        What goes into a contender's job: `arch`, `size`, `classes`, `state`, `export`, and as far as they could be written
        `weights_LAYOUT` and `onnx`. Besides `flop` of an image, `logits` [batch, K], and under `lacking` the reasons for what
        could not be written, by key.
    """
    import paddle

    from benchmarks.flops import multiply_adds
    from ppcore import weights
    from ppcore.config import components
    from ppcore.deploy import export_model
    from ppcore.model import traits

    paddle.seed(0)
    model = components.build(dict(spec["arch"]))
    disturb(model)
    model.eval()
    size, facts = traits(model).img_size[0], {"arch": dict(spec["arch"]), "lacking": {}}
    facts |= {"size": size, "classes": traits(model).num_classes, "flop": 2 * multiply_adds(model, (1, 3, size, size))}
    with paddle.no_grad():
        facts["logits"] = model(paddle.to_tensor(images(batch, size))).numpy()
    facts |= {"state": str(folder / "state.safetensors"), "export": str(folder / "export")}
    weights.save(model, facts["state"])
    export_model(model, facts["export"], formats)
    if "int8" in needs and (why := _quantised(facts["export"], images(32, size))):
        facts["lacking"]["int8"] = why
    for layout in spec["layouts"]:
        if needs & {f"weights_{layout}", *(["onnx"] if layout == "timm" else [])}:
            _hand_over(model, layout, folder, facts)
    if "onnx" in needs and "weights_timm" in facts:
        job = {"timm": spec["timm"], "weights": facts["weights_timm"], "size": size, "path": str(folder / "timm.onnx")}
        try:
            found = measured("benchmarks.timm_alone", job, contender="timm's ONNX", threads=threads)
        except PPError as error:
            found = {"failed": str(error)}
        if found:
            facts["lacking"]["onnx"] = found.get("failed") or reason(found["missing"], None)
        else:
            facts["onnx"] = job["path"]
    return facts


def _hand_over(model: Any, layout: str, folder: Path, facts: dict[str, Any]) -> None:
    """Writes the weights in a layout, or notes why not."""
    from ppcore import weights

    try:
        arrays = weights.export(model, layout=layout)
    except PPError as error:
        facts["lacking"][f"weights_{layout}"] = str(error)
        return
    facts[f"weights_{layout}"] = str(folder / f"{layout}.npz")
    np.savez(facts[f"weights_{layout}"], **arrays)


def _quantised(folder: str, x: np.ndarray) -> str | None:
    """Adds an int8 form to an export; why that is not possible, else None."""
    from ppcore.deploy.quantization import quantize

    try:
        quantize(folder, list(x), count=len(x), compared=len(x))
    except PPError as error:
        return str(error)
    return None


def disturb(model: Any) -> None:
    """Adds noise of standard deviation 0.02 to every parameter."""
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        noise = rng.standard_normal(parameter.shape, np.float32) * np.float32(0.02)
        parameter.set_value(parameter.numpy() + noise)
