"""VDSR's adjustable gradient clipping (Kim, Lee and Lee 2016, section 3.2)."""

from paddle.nn import ClipGradByValue
from paddle.optimizer import Optimizer

from ppcore import optim
from ppcore.errors import ConfigError


class _ByRate(ClipGradByValue):
    """Cuts every entry of a gradient at ±theta / rate, the rate being the optimizer's of this moment."""

    def __init__(self, theta: float):
        super().__init__(max=theta)
        self.theta, self.optimizer = theta, None

    def _dygraph_clip(self, params_grads: list) -> list:
        rate = self.optimizer.get_lr()
        if rate == 0:
            return params_grads  # nothing moves
        self.max, self.min = self.theta / rate, -self.theta / rate
        return super()._dygraph_clip(params_grads)


def ClippedByRate(
    *, parameters: list, decayed: set[str], weight_decay: float, momentum: float = 0.9, theta: float = 1e-3
) -> Optimizer:
    """SGD with momentum whose gradients' entries are cut at ±theta / learning rate, so that no step grows beyond its bound.

    The weight decay is added after the cut, as in the authors' and in torch's order.

    Args:
        parameters: what it updates.
        decayed: names of those that decay.
        weight_decay: L2 term.
        momentum: of the steps.
        theta: the bound times the rate. The paper names none.

    Raises:
        ConfigError: theta is not above 0.
    """
    if not theta > 0:
        raise ConfigError(f"Optimizer.theta is {theta}, but must be a number above 0")
    made = optim.Momentum(parameters=parameters, decayed=decayed, weight_decay=weight_decay, momentum=momentum)
    clip = _ByRate(theta)
    clip.optimizer = made
    made._grad_clip = clip  # Paddle reads it at every update; at construction there is no optimizer to ask for its rate
    return made
