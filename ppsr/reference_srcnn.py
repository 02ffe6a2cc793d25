"""The narrow SRCNN whose numbers are stored in `tests/fidelity_data/srcnn_tiny`, computed by torch."""

from typing import Any

import paddle

from ppsr.borders import BORDERS
from ppsr.reference_squared import SquaredReference
from ppsr.srcnn import SRCNN


class SRCNNReference(SquaredReference):
    """The image by three border rules, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "srcnn"

    def build(self, **variant: Any) -> SRCNN:
        """The model in training mode, which takes nothing from beyond the edge, as the paper trains."""
        config = self.config | {"widths": tuple(self.config["widths"]), "last_rate": self.recipe["last_rate"]}
        model = SRCNN(**config, training_border="valid", **variant)
        model.train()
        return model

    def forward(self, model: SRCNN, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The image of Y [B, 1, H, W] in training, and as stages the images in evaluation by every border rule."""
        y, stages = model(x), {}
        model.eval()
        with paddle.no_grad():
            for border in BORDERS:
                model.border = border
                stages[border] = model(x)
        model.train()
        return y, stages

    def stages(self, model: SRCNN) -> dict[str, tuple[list[str], float]]:
        """The images."""
        said = {"valid": "nothing beyond the edge", "zero": "zeros beyond the edge", "replicate": "the edge repeated"}
        return {f"image, {said[border]}": ([border], 5e-6) for border in BORDERS}
