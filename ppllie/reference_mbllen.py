"""The narrow MBLLEN whose numbers are stored in `tests/fidelity_data/mbllen_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import optim
from ppllie.mbllen import MBLLEN
from ppllie.mbllen_loss import loss_without_context


class MBLLENReference:
    """Features, branches, the image, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "mbllen"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float64"
    gradients = ("gradient of every parameter and of the image", 1e-4)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    unsettled: Mapping[str, str] = {}
    norm_tolerance = 1e-5
    trainings = ("run",)

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]

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

    def label(self, run: str) -> str:
        """Optimiser and precision."""
        return "Adam in float64"

    def optimizer(self, model: MBLLEN, run: str) -> paddle.optimizer.Optimizer:
        """Adam, without weight decay."""
        (beta1, beta2), epsilon = self.recipe["betas"], self.recipe["eps"]
        decay = {"weight_decay": 0.0, "no_weight_decay": []}
        return optim.make(model, optim.Adam, **decay, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def rate(self, run: str, step: int) -> float:
        """Constant."""
        return self.recipe["lr"]

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None
