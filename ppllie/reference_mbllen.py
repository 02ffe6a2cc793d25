"""The narrow MBLLEN whose numbers are stored in `tests/fidelity_data/mbllen_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.layers.watched import watched
from ppcore.optim import ConstantAdam
from ppllie.mbllen import MBLLEN
from ppllie.mbllen_loss import loss_without_context


class MBLLENReference(ConstantAdam):
    """Features, branches, the image, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "mbllen"
    gradients = ("gradient of every parameter and of the image", 1e-4)

    def build(self, **variant: Any) -> MBLLEN:
        """The model in training mode."""
        model = MBLLEN(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: MBLLEN, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The image of images [B, 3, H, W], and with it features and branches as stages."""
        layers = {f"feature{i}": layer for i, layer in enumerate(model.features)}
        layers |= {f"branch{i}": layer for i, layer in enumerate(model.branches)}
        y, stages = watched(model, layers, x)
        return y, stages | {"y": y}

    def stages(self, model: MBLLEN) -> dict[str, tuple[list[str], float]]:
        """Features, branches, the image."""
        numbers = range(len(model.branches))
        return {
            "features": ([f"feature{i}" for i in numbers], 5e-6),
            "branches": ([f"branch{i}" for i in numbers], 5e-6),
            "enhanced image": (["y"], 5e-6),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Pixels, structure, and the region loss with its sign right."""
        return loss_without_context(outputs, paddle.to_tensor(arrays["target"][rows]).astype(outputs.dtype), "fixed")
