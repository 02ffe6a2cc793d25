"""An export whose graph also does what comes before and after the network: bytes in, probabilities out.

For programs that have no code of ours: they resize and crop, and hand over pixels. It is a graph beside the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.deploy.export_spec import ExportSpec, Stage
from ppcore.errors import ConfigError

NAME = "uint8"


class BytesToProbabilities(nn.Layer):
    """uint8 [B, H, W, C] -> softmax of the network's logits for `(pixel / 255 - mean) / std`, float32 [B, K].

    Args:
        network: float32 [B, C, H, W] -> logits [B, K].
        mean: a number a channel, in units of 0..1.
        std: likewise.
    """

    def __init__(self, network: nn.Layer, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.network = network
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, paddle.to_tensor(values, "float32").reshape([1, -1, 1, 1]), persistable=True)

    def forward(self, image):
        x = image.astype("float32").transpose([0, 3, 1, 2]) / 255.0
        return F.softmax(self.network((x - self.mean) / self.std), axis=-1)


def stage_of(spec: ExportSpec, preprocessing: Mapping[str, Mapping[str, Any]] | None) -> Stage:
    """The additional graph of a classifier.

    Args:
        spec: of the classifier.
        preprocessing: its named steps; the last, Normalize, goes into the graph.

    Raises:
        ConfigError: the export is no classifier, or nothing is known of its preprocessing.
    """
    if spec.padding is not None or len(spec.stages) > 1:
        raise ConfigError("Export.in_graph: only classifiers have it; this network makes images")
    if preprocessing is None:
        raise ConfigError("Export.in_graph: nothing is known of how images become the input; set DataLoader.Eval")
    normalize = list(preprocessing.values())[-1]
    batch, channels, height, width = spec.stages[0].inputs["x"]
    layer = BytesToProbabilities(spec.stages[0].layer, normalize["mean"], normalize["std"])
    layer.eval()
    return Stage(NAME, layer, {"image": (batch, height, width, channels)}, ("probabilities",), dtype="uint8")
