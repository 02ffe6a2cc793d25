"""An export of a network that makes images, run by the engine that suits each photograph's size."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppcore.deploy import engine_choice, manifest
from ppcore.deploy.engine_choice import Size
from ppcore.deploy.predictor import Predictor

log = logging.getLogger("ppcore")


class BySize:
    """onnxruntime below `engine_choice.OWN_SIZE_FROM` pixels, OpenVINO from there on: images
    [1, C, H, W] -> images, float32.

    The result's size alone decides, so that a photograph's result does not depend on those beside it.

    Args:
        folder: the export, with ONNX files.
        tile: as for `Predictor`.
        sizes: (height, width) of the results to come, for the log.
    """

    def __init__(self, folder: Path, tile: int | None, sizes: Sequence[Size]):
        self.folder, self.tile = folder, tile
        self.scale = manifest.read(folder).padding.scale
        self.predictors: dict[str, Predictor] = {}
        log.info("Infer.engine=auto: %s", engine_choice.shares(sizes))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        engine = engine_choice.for_size([side * self.scale for side in x.shape[2:]])
        if engine not in self.predictors:
            self.predictors[engine] = Predictor(self.folder, engine, tile=self.tile)
        return self.predictors[engine](x)
