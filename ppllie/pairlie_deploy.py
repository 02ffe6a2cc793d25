"""PairLIE as it is deployed: one stage, every pixel from a neighbourhood of 21x21, so an image may run tile by tile."""

from typing import TYPE_CHECKING

import paddle.nn as nn

from ppcore.deploy import ExportSpec, Padding, Stage, TileRule

if TYPE_CHECKING:
    from ppllie.pairlie import PairLIE


class Enhance(nn.Layer):
    """`PairLIE.tail`: image [B, 3, H, W], H and W >= 2 -> the enhanced image."""

    def __init__(self, model: "PairLIE"):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.tail(x, x)


def export_spec(model: "PairLIE") -> ExportSpec:
    """The deployed form of a `PairLIE` with its present weights and gamma."""
    model.eval()
    return ExportSpec(
        stages=(Stage("enhance", Enhance(model), {"x": (None, 3, None, None)}, ("y",)),),
        padding=Padding(least=2),
        tiles=TileRule(stage="enhance", axis=2, channels=1, output_axis=2, scale=1, halo=model.tail_reach),
    )
