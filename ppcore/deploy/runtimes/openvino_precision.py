"""Keeping parts of a model in float32 when OpenVINO computes in bfloat16."""

import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import openvino as ov

VALUES = ("Parameter", "Const", "Result")
CONVOLUTIONS = ("Convolution", "GroupConvolution")
# What may lie between two convolutions without their leaving bfloat16.
BETWEEN = ("Add", "Divide", "MVN", "Maximum", "Minimum", "Multiply", "Relu", "PRelu", "Subtract")


def keep_float32(core: ov.Core, model: ov.Model, convolutions: bool) -> ov.Model:
    """The model with its operators marked `precise`, all or (`convolutions`) but these and what lies between them alone.

    The mark is an attribute of OpenVINO's IR; its Python interface cannot set it, so the model is written and read again.
    """
    short = _short(model) if convolutions else set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.serialize(model, path, path.with_suffix(".bin"))
        tree = ET.parse(path)
        for layer in tree.getroot().find("layers"):
            if layer.get("type") in VALUES or layer.get("name") in short:
                continue
            marks = layer.find("rt_info")
            if marks is None:
                marks = ET.Element("rt_info")
                layer.insert(0 if layer.find("data") is None else 1, marks)
            ET.SubElement(marks, "attribute", {"name": "precise", "version": "0"})
        tree.write(path)
        # The weights are read here, not mapped: the folder goes.
        core.set_property({"ENABLE_MMAP": False})
        return core.read_model(path)


def _short(model: ov.Model) -> set[str]:
    """Names of the convolutions, and of operators that read these (or constants) alone and are read by these alone."""
    nodes = model.get_ordered_ops()
    constant, short = set(), set()
    for node in nodes:
        sources = {value.get_node().get_friendly_name() for value in node.input_values()}
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind == "Constant" or (sources and sources <= constant):
            constant.add(name)
        elif kind in CONVOLUTIONS or (kind in BETWEEN and sources <= constant | short):
            short.add(name)
    for node in reversed(nodes):
        if node.get_type_name() in BETWEEN:
            readers = {
                reader.get_node().get_friendly_name() for out in node.outputs() for reader in out.get_target_inputs()
            }
            if not readers <= short:
                short.discard(node.get_friendly_name())
    return short
