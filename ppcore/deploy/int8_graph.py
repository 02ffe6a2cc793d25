"""An ONNX graph in int8: quantised by nncf, its weights kept as bytes."""

import logging
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
from onnx import numpy_helper


def quantised_graph(source: Path, target: Path, inputs: list[np.ndarray]) -> dict[str, Any]:
    """Writes the int8 form of a graph with one input.

    Args:
        source: .onnx, float32.
        target: .onnx to write.
        inputs: to calibrate on, each [C, H, W].

    Returns:
        The settings used.
    """
    model = onnx.load(str(source))
    name = model.graph.input[0].name
    transformer = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    smooth = -1.0
    nncf.set_log_level(logging.ERROR)
    quantised = nncf.quantize(
        model,
        nncf.Dataset(inputs, lambda x: {name: x[None]}),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=smooth, convolution=-1.0)
        ),
    )
    _weights_as_bytes(quantised.graph)
    onnx.save(quantised, str(target))
    return {"preset": "mixed", "model_type": "transformer" if transformer else None, "smooth_quant": smooth}


def _weights_as_bytes(graph: Any) -> None:
    """Rounds constants that are quantised, as the node there would each time the graph is loaded: a quarter of the file."""
    values = {value.name: value for value in graph.initializer}
    done = []
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or any(name not in values for name in node.input):
            continue
        weight, scale, zero = (numpy_helper.to_array(values[name]) for name in node.input)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.ndim:
            form = [-1 if i == axis % weight.ndim else 1 for i in range(weight.ndim)]
            scale, zero = scale.reshape(form), zero.reshape(form)
        limits = np.iinfo(zero.dtype)
        rounded = np.clip(np.rint(weight / scale) + zero, limits.min, limits.max).astype(zero.dtype)
        graph.initializer.append(numpy_helper.from_array(rounded, node.output[0]))
        done.append(node)
    for node in done:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.initializer if value.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
