"""What the stored references of super-resolution share: half the squared error of an image, minimised by Adam."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore.optim import ConstantAdam
from ppsr.sr_losses import SquaredError


class SquaredReference(ConstantAdam):
    """The part of `ppcore.reproduce.fidelity.Reference` that SRCNN, FSRCNN and VDSR share.

    Args:
        facts: of the stored file.
    """

    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    gradients = ("gradient of every parameter and of the images", 2e-5)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    unsettled: Mapping[str, str] = {}
    norm_tolerance = 1e-5

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
        self.criterion = SquaredError(reduction="per_image")

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Half the sum of an image's squared differences, in the precision of the outputs."""
        return self.criterion(outputs, {"target": paddle.to_tensor(arrays["target"][rows]).astype(outputs.dtype)})


def watched(model: nn.Layer, layers: Sequence[nn.Layer], x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
    """The output of a model, and the results of some of its layers as stages `feature0`, `feature1`, …"""
    stages: dict[str, paddle.Tensor] = {}
    hooks = [
        layer.register_forward_post_hook(lambda layer, inputs, out, i=i: stages.update({f"feature{i}": out}))
        for i, layer in enumerate(layers)
    ]
    y = model(x)
    for hook in hooks:
        hook.remove()
    return y, stages
