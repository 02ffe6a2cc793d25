"""Exporting a model for inference, and running what was exported; running needs neither Paddle nor a configuration.

    export_model(model, folder, formats=("paddle", "onnx"))     writes an export; imports Paddle
    Predictor(folder, engine="auto")(x)                         runs it
    quantize(folder, images)                                    adds an int8 form; needs nncf
    ExportSpec, Stage, Padding, TileRule                        what a model's `export_spec()` returns

A name is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppcore.deploy.export import export_model
    from ppcore.deploy.export_spec import ExportSpec, Padding, Stage, TileRule
    from ppcore.deploy.predictor import Predictor
    from ppcore.deploy.quantization import quantize

__all__ = ["ExportSpec", "Padding", "Predictor", "Stage", "TileRule", "export_model", "quantize"]

_HOMES = {"export_model": "export", "Predictor": "predictor", "quantize": "quantization"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'export_spec')}"), name)
