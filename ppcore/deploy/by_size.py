"""An export run by the engine that suits each photograph's size."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppcore.deploy import engine_choice, manifest
from ppcore.deploy.engine_choice import Size
from ppcore.deploy.export_spec import Padding
from ppcore.deploy.predictor import Precision, Predictor

log = logging.getLogger("ppcore")


class BySize:
    """An exported network run by onnxruntime or OpenVINO, whichever suits the size (`engine_choice.by_size`).

    Args:
        folder: the export, with ONNX files.
        precision: as for `Predictor`.
        tile: as for `Predictor`.
        sizes: (height, width) of the photographs to come.
    """

    def __init__(self, folder: Path, precision: Precision, tile: int | None, sizes: Sequence[Size]):
        self.folder, self.precision, self.tile = folder, precision, tile
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
            self.predictors[engine] = Predictor(self.folder, engine, self.precision, tile=self.tile)
        return self.predictors[engine](x)
