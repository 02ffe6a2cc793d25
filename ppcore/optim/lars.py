"""LARS: a rate for each layer, from the norms of its weights and its update (You et al. 2017, arXiv 1708.03888)."""

from typing import Literal

import paddle
from paddle.optimizer import Optimizer

from ppcore.errors import ConfigError

Form = Literal["rate_outside", "rate_inside", "trust_of_buffer"]
FORMS = ("rate_outside", "rate_inside", "trust_of_buffer")


class LarsOptimizer(Optimizer):
    """The update of one tensor w with gradient g at a time; what it remembers are accumulators.

    Paddle's own (`paddle.incubate`) divides by |g| + wd·|w| instead of |g + wd·w|, and has no trust ratio at all where the
    decay is 0.

    Args:
        parameters: what it updates; float32.
        adapted: names of those that have a trust ratio; the others are those of plain momentum.
        decayed: names of those that decay.
        weight_decay: wd.
        momentum: m.
        trust_coefficient: of the ratio.
        form: see `LARS`.
        nesterov: see `LARS`.
    """

    def __init__(
        self,
        parameters: list,
        adapted: set[str],
        decayed: set[str],
        weight_decay: float,
        momentum: float,
        trust_coefficient: float,
        form: Form,
        nesterov: bool,
    ):
        super().__init__(learning_rate=0.0, parameters=parameters)
        self.adapted, self.decayed, self.decay = adapted, decayed, weight_decay
        self.momentum, self.trust_coefficient, self.form, self.nesterov = momentum, trust_coefficient, form, nesterov

    def _create_accumulators(self, block, parameters: list) -> None:
        for p in parameters:
            if p.name not in self._accumulators["velocity"]:
                self._add_accumulator("velocity", p, dtype="float32", shape=p.shape)

    @paddle.no_grad()
    def _append_optimize_op(self, block, parameter_and_gradient: tuple) -> None:
        p, g = parameter_and_gradient
        velocity = self._accumulators["velocity"][p.name]
        rate = self._create_param_lr(parameter_and_gradient)
        if self.decay and p.name in self.decayed:
            g = g + self.decay * p
        if self.form == "trust_of_buffer":
            scaled, inside = g, 1.0
        else:
            inside = rate if self.form == "rate_inside" else 1.0
            scaled = g * (self._trust(p, g) * inside)
        paddle.assign(self.momentum * velocity + scaled, velocity)
        update = self.momentum * velocity + scaled if self.nesterov else velocity
        outside = 1.0 if self.form == "rate_inside" else rate
        if self.form == "trust_of_buffer":
            outside = self._trust(p, update) * rate
        paddle.assign(p - outside * update, p)

    def _trust(self, p: paddle.Tensor, update: paddle.Tensor) -> paddle.Tensor | float:
        """coefficient · |w| / |update|, 1 where either is 0."""
        if p.name not in self.adapted:
            return 1.0
        ours, theirs = (paddle.sqrt(tensor.square().sum()) for tensor in (p, update))
        one = paddle.ones_like(ours)
        some = (ours > 0) & (theirs > 0)
        return paddle.where(some, self.trust_coefficient * ours / paddle.where(some, theirs, one), one)


def LARS(
    *,
    parameters: list,
    decayed: set[str],
    weight_decay: float,
    momentum: float = 0.9,
    trust_coefficient: float = 1e-3,
    form: Form = "rate_outside",
    nesterov: bool = False,
) -> Optimizer:
    """LARS with momentum. Vectors and scalars (biases, norms) have no trust ratio; keep decay from them by `no_weight_decay: [1d]`.

    With u = g + wd·w and q = trust_coefficient · |w| / |u|, or 1 where either norm is 0:

    - `rate_outside`: v ← m·v + q·u, w ← w - lr·v (the PyTorch codes of MoCo v3 and those after it);
    - `rate_inside`: v ← m·v + lr·q·u, w ← w - v (SimCLR's code; differs wherever the rate changes);
    - `trust_of_buffer`: v ← m·v + u, w ← w - lr·q·v with q of |v| in place of |u|.

    Args:
        parameters: what it updates; float32 (not under AMP O2).
        decayed: names of those that decay.
        weight_decay: wd, part of the update that the ratio is of.
        momentum: m.
        trust_coefficient: of the ratio.
        form: where rate and ratio stand.
        nesterov: the step is m·v + what was just added to v, in place of v.

    Raises:
        ConfigError: an argument out of its range.
    """
    if not 0 <= momentum < 1:
        raise ConfigError(f"Optimizer.momentum is {momentum}, but must be from 0 to below 1")
    if not trust_coefficient > 0:
        raise ConfigError(f"Optimizer.trust_coefficient is {trust_coefficient}, but must be above 0")
    if form not in FORMS:
        raise ConfigError(f"Optimizer.form is {form!r}, but must be one of {', '.join(FORMS)}")
    if any(p.dtype != paddle.float32 for p in parameters):
        raise ConfigError("ppcore.optim.LARS updates float32 weights: use AMP.level O0 or O1")
    adapted = {p.name for p in parameters if p.ndim > 1}
    return LarsOptimizer(parameters, adapted, decayed, weight_decay, momentum, trust_coefficient, form, nesterov)
