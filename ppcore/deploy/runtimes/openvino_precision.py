"""Keeping parts of a model in float32 when OpenVINO computes in bfloat16."""

import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import openvino as ov

VALUES = ("Parameter", "Const", "Result")


def keep_float32(core: ov.Core, model: ov.Model, short: tuple[str, ...]) -> ov.Model:
    """The model with every operator marked `precise` but those of the types in `short` (OpenVINO's names).

    The mark is an attribute of OpenVINO's IR; its Python interface cannot set it, so the model is written and read again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.serialize(model, path, path.with_suffix(".bin"))
        tree = ET.parse(path)
        for layer in tree.getroot().find("layers"):
            if layer.get("type") in (*VALUES, *short):
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
