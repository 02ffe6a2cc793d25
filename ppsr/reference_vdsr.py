"""The narrow VDSR whose numbers are stored in `tests/fidelity_data/vdsr_tiny`, computed by torch."""

from typing import Any

import paddle
from paddle import nn
from paddle.optimizer import Optimizer

from ppcore import optim
from ppcore.layers.watched import watched
from ppsr.clipping import ClippedByRate
from ppsr.reference_squared import SquaredReference
from ppsr.vdsr import VDSR


class VDSRReference(SquaredReference):
    """Features, the image, every gradient; 40 steps of clipped SGD. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "vdsr"

    def build(self, **variant: Any) -> VDSR:
        """The model in training mode."""
        model = VDSR(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: VDSR, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The image of Y [B, 1, H, W], and with it the features before their ReLU as stages."""
        y, features = watched(model, {f"feature{i}": conv for i, conv in enumerate(model.convs[:-1])}, x)
        return y, features | {"y": y}

    def stages(self, model: VDSR) -> dict[str, tuple[list[str], float]]:
        """Features and the image."""
        return {
            "features": ([f"feature{i}" for i in range(len(model.convs) - 1)], 5e-6),
            "image": (["y"], 5e-6),
        }

    def label(self, run: str) -> str:
        """Optimiser and precision."""
        return "SGD in float64, entries of the gradient cut at theta / rate"

    def optimizer(self, model: nn.Layer, run: str) -> Optimizer:
        """SGD with momentum, weight decay and the paper's adjustable clipping."""
        recipe = {key: self.recipe[key] for key in ("weight_decay", "momentum", "theta")}
        return optim.make(model, ClippedByRate, no_weight_decay=[], **recipe)
