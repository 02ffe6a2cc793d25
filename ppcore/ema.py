"""Exponential moving average of a model's weights."""

from contextlib import contextmanager

import paddle
import paddle.nn as nn

from ppcore.optim import widened


class EMA:
    """ema ← decay·ema + (1 - decay)·w after every update, float32 throughout (DeiT §6, table 9).

    It starts as a copy of the weights and has no bias correction. Under AMP O2 the weights are
    half precision, where 0.9999-decay steps round to nothing; the average then follows the
    optimiser's float32 master weights.

    Args:
        model: the model to follow.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Layer, decay: float):
        self.model, self.decay = model, decay
        self.shadow = {name: t.detach().astype("float32").clone() for name, t in self._followed().items()}

    def _followed(self) -> dict[str, paddle.Tensor]:
        # Without its hooks: those of `paddle.amp.decorate(save_dtype=...)` would give copies, and nothing would reach
        # the model.
        state = self.model.state_dict(use_hook=False)
        return {name: t for name, t in state.items() if t.is_floating_point()}

    @paddle.no_grad()
    def update(self, masters: dict[str, paddle.Tensor] | None = None) -> None:
        """Takes one step towards the weights.

        Args:
            masters: float32 master weights by parameter name (`optimizer._master_weights` under O2).
        """
        for name, value in self._followed().items():
            value = widened((masters or {}).get(value.name, value))
            # In place, where it lies: Paddle 2.6's set_value takes every tensor through the host.
            self.shadow[name].scale_(self.decay).add_(value * (1.0 - self.decay))

    @contextmanager
    def applied(self):
        """Puts the average into the model for the duration of a `with` block (evaluation, saving)."""
        live = {name: t.clone() for name, t in self._followed().items()}
        try:
            self._assign(self.shadow)
            yield self.model
        finally:
            self._assign(live)

    @paddle.no_grad()
    def _assign(self, values: dict[str, paddle.Tensor]) -> None:
        for name, tensor in self._followed().items():
            paddle.assign(values[name].astype(tensor.dtype), output=tensor)
