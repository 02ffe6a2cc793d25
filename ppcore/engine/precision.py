"""Mixed precision: what runs low, what stays float32, and the loss scale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore import runtime
from ppcore.config import AMPSection
from ppcore.engine.logger import log
from ppcore.errors import ConfigError

_CAPABILITY = {"bfloat16": (8, 0), "float16": (7, 0)}  # below, Paddle's autocast turns itself off


def obstacle(section: AMPSection, device: str) -> str | None:
    """Why this device cannot compute as the section says; None where it can.

    Paddle itself goes on in float32, on a CPU with a warning and on an old GPU under O2 without one.
    """
    if section.level == "O0":
        return None
    if device == "cpu":
        return "AMP needs a GPU (Paddle has no autocast on a CPU)"
    needed = _CAPABILITY[section.dtype]
    try:
        found = tuple(paddle.device.cuda.get_device_capability())
    except ValueError:  # not a card of NVIDIA's
        return None
    if found >= needed:
        return None
    return (
        f"AMP.dtype={section.dtype} needs a GPU of compute capability {_text(needed)}, and this one has {_text(found)}"
    )


def say_float32(section: AMPSection, what: str) -> None:
    """Says, where a configuration trains under AMP, that something else computes in float32."""
    if section.level != "O0":
        log.info("%s in float32: AMP.level=%s is for training and evaluation", what, section.level)


def _text(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


class Precision:
    """AMP of a run.

    O1 keeps float32 weights and casts the inputs of the operators on Paddle's lists. O2 also
    keeps the weights in `dtype`, beside float32 masters in the optimiser. The loss and every
    metric are computed in float32; float16 uses dynamic loss scaling, bfloat16 needs none.

    Args:
        section: the `AMP` section.
        device: `cpu` or `gpu`.

    Raises:
        ConfigError: the device cannot, and `AMP.unavailable` is not `float32`.
    """

    def __init__(self, section: AMPSection, device: str):
        self.device, self.missing = device, obstacle(section, device)
        if self.missing and section.unavailable == "error":
            instead = "AMP.dtype=float16, " if section.dtype == "bfloat16" and device == "gpu" else ""
            raise ConfigError(
                f"{self.missing}: set {instead}AMP.level=O0, or AMP.unavailable=float32 to compute in float32 then"
            )
        if self.missing:
            log.info("%s: computing in float32 instead of AMP.level=%s", self.missing, section.level)
        self.section = AMPSection() if self.missing else section
        self.enabled = self.section.level != "O0"
        scaling = self.enabled and section.dtype == "float16"
        self.scaler = paddle.amp.GradScaler(enable=scaling, init_loss_scaling=section.init_loss_scaling)
        as_number(self.scaler)

    @classmethod
    def of_evaluation(cls, section: AMPSection, device: str) -> "Precision":
        """What trained weights are evaluated in: O1 as configured; float32 where the device has none, and after O2."""
        section = section if section.level == "O1" else AMPSection()
        return cls(section.model_copy(update={"unavailable": "float32"}), device)

    def describe(self) -> str:
        """What is computed in, for the protocol line."""
        kinds = {"O0": "float32", "O1": f"{self.section.dtype} autocast"}
        text = kinds.get(self.section.level, f"{self.section.dtype} weights and autocast")
        if self.missing:
            text += f" ({self.missing})"
        if self.device == "gpu" and runtime.tf32_allowed():
            text += " with TF32 products"
        return text

    def decorate(self, networks: nn.Layer, optimizers: list[Any]) -> None:
        """Casts the weights under O2; the optimisers then keep float32 masters."""
        if self.section.level == "O2":
            paddle.amp.decorate(networks, optimizers, level="O2", dtype=self.section.dtype, master_weight=True)

    def forward(self, model: Callable, *inputs: paddle.Tensor) -> Any:
        """The model's outputs under autocast, returned in float32."""
        with paddle.amp.auto_cast(enable=self.enabled, level=self._cast_level(), dtype=self.section.dtype):
            outputs = model(*inputs)
        return float32(outputs)

    def _cast_level(self) -> str:
        return self.section.level if self.enabled else "O1"

    def state(self) -> dict[str, Any]:
        """The loss scaler's state, as JSON values."""
        if not self.scaler.is_enable():
            return {}
        return {
            k: np.atleast_1d(v).tolist() if hasattr(v, "tolist") else v for k, v in self.scaler.state_dict().items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        if state:
            reference = self.scaler.state_dict()
            typed = {k: type_like(reference[k], v) for k, v in state.items()}
            self.scaler.load_state_dict(typed)
            as_number(self.scaler)


def as_number(scaler: paddle.amp.GradScaler) -> None:
    """Keeps the loss scale as a tensor of shape [].

    Paddle's own has shape [1], of which numpy 2.4 makes no float any more, and Paddle prints one at the first overflow.
    """
    if scaler.is_enable():
        scaler._scale = scaler._scale.reshape([])


def type_like(reference: Any, value: Any) -> Any:
    """`value` from JSON as the type of `reference` (an array where that is one)."""
    return np.asarray(value, dtype=reference.dtype) if isinstance(reference, np.ndarray) else value


def float32(outputs: Any) -> Any:
    """Casts a tensor, or every tensor of a tuple or list, to float32."""
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(float32(item) for item in outputs)
    return outputs.astype("float32") if outputs.dtype in (paddle.float16, paddle.bfloat16) else outputs
