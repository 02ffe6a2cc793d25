"""The narrow MBLLEN whose numbers are stored in `tests/fidelity_data/mbllen_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.optim import ConstantAdam
from ppllie.mbllen import MBLLEN
from ppllie.mbllen_loss import loss_without_context


class MBLLENReference(ConstantAdam):
    """Features, branches, the image, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "mbllen"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    gradients = ("gradient of every parameter and of the image", 1e-4)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    unsettled: Mapping[str, str] = {}
    norm_tolerance = 1e-5

    def build(self, **variant: Any) -> MBLLEN:
        """The model in training mode."""
        model = MBLLEN(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: MBLLEN, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The image of images [B, 3, H, W], and with it features and branches as stages."""
        stages: dict[str, paddle.Tensor] = {}
        layers = {f"feature{i}": layer for i, layer in enumerate(model.features)}
        layers |= {f"branch{i}": layer for i, layer in enumerate(model.branches)}
        hooks = [
            layer.register_forward_post_hook(lambda layer, inputs, out, name=name: stages.update({name: out}))
            for name, layer in layers.items()
        ]
        y = model(x)
        for hook in hooks:
            hook.remove()
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
