"""Mixed precision: what runs low, what stays float32, and the loss scale."""

from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.config import AMPSection
from ppcore.errors import ConfigError


class Precision:
    """AMP of a run.

    O1 keeps float32 weights and casts the inputs of the operators on Paddle's lists. O2 also
    keeps the weights in `dtype`, beside float32 masters in the optimiser. The loss and every
    metric are computed in float32; float16 uses dynamic loss scaling, bfloat16 needs none.

    Args:
        section: the `AMP` section.
        device: `cpu` or `gpu`.

    Raises:
        ConfigError: a CPU, where Paddle ignores autocast with a warning and would train in float32.
    """

    def __init__(self, section: AMPSection, device: str):
        self.section = section
        self.enabled = section.level != "O0"
        if self.enabled and device == "cpu":
            raise ConfigError("AMP needs a GPU (Paddle has no autocast on a CPU): set AMP.level=O0")
        scaling = self.enabled and section.dtype == "float16"
        self.scaler = paddle.amp.GradScaler(enable=scaling, init_loss_scaling=section.init_loss_scaling)

    def decorate(self, model: nn.Layer, optimizer: Any) -> None:
        """Casts the weights under O2; the optimiser then keeps float32 masters."""
        if self.section.level == "O2":
            paddle.amp.decorate(model, optimizer, level="O2", dtype=self.section.dtype, master_weight=True)

    def forward(self, model: nn.Layer, image: paddle.Tensor) -> Any:
        """The model's outputs under autocast, returned in float32."""
        with paddle.amp.auto_cast(enable=self.enabled, level=self._cast_level(), dtype=self.section.dtype):
            outputs = model(image)
        return float32(outputs)

    def _cast_level(self) -> str:
        return self.section.level if self.enabled else "O1"

    def state(self) -> dict[str, Any]:
        """The loss scaler's state, as JSON values."""
        if not self.scaler.is_enable():
            return {}
        return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in self.scaler.state_dict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        if state:
            reference = self.scaler.state_dict()
            typed = {k: type_like(reference[k], v) for k, v in state.items()}
            self.scaler.load_state_dict(typed)


def type_like(reference: Any, value: Any) -> Any:
    """`value` from JSON as the type of `reference` (an array where that is one)."""
    return np.asarray(value, dtype=reference.dtype) if isinstance(reference, np.ndarray) else value


def float32(outputs: Any) -> Any:
    """Casts a tensor, or every tensor of a tuple or list, to float32."""
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(float32(item) for item in outputs)
    return outputs.astype("float32") if outputs.dtype in (paddle.float16, paddle.bfloat16) else outputs
