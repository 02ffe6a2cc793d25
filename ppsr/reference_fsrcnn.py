"""The narrow FSRCNN whose numbers are stored in `tests/fidelity_data/fsrcnn_tiny`, computed by torch."""

from typing import Any

import paddle

from ppcore.layers.watched import watched
from ppsr.fsrcnn import FSRCNN
from ppsr.reference_squared import SquaredReference


class FSRCNNReference(SquaredReference):
    """Features, the image at two scales, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "fsrcnn"

    def build(self, **variant: Any) -> FSRCNN:
        """The model in training mode, with the edge repeated in training, too."""
        model = FSRCNN(**self.config | {"last_rate": self.recipe["last_rate"]} | variant)
        model.train()
        return model

    def forward(self, model: FSRCNN, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The image of Y [B, 1, H, W] at x3; as stages also its features, and the image at x2 by the same weights."""
        y, features = watched(model, {f"feature{i}": slope for i, slope in enumerate(model.slopes)}, x)
        other = self.build(scale=2)
        other.set_state_dict(model.state_dict())
        return y, features | {"y": y, "y2": other(x)}

    def stages(self, model: FSRCNN) -> dict[str, tuple[list[str], float]]:
        """Features and images."""
        return {
            "features": ([f"feature{i}" for i in range(len(model.slopes))], 5e-6),
            "image three times larger": (["y"], 5e-6),
            "image twice larger": (["y2"], 5e-6),
        }
