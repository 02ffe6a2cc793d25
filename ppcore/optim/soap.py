"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv 2409.11321, algorithm 3)."""

from collections.abc import Sequence

import paddle
from paddle.optimizer import Optimizer

from ppcore.errors import ConfigError


class _Soap(Optimizer):
    """The update of one matrix G [m, n] at a time; a convolution's kernel is [out, in·k·k].

    All that it remembers are accumulators, so that a training which goes on from a checkpoint goes on bit for bit.
    """

    def __init__(
        self,
        parameters: list,
        decayed: set[str],
        weight_decay: float,
        betas: tuple[float, float],
        epsilon: float,
        memory: float,
        every: int,
        largest: int,
    ):
        super().__init__(learning_rate=0.0, parameters=parameters)
        self.decayed, self.decay = decayed, weight_decay
        self.betas, self.epsilon, self.memory, self.every, self.largest = betas, epsilon, memory, every, largest
        self.done: dict[
            str, int
        ] = {}  # updates by parameter, as the accumulators say: those of a GPU are not asked each time

    def set_state_dict(self, state_dict: dict) -> None:
        """Goes on from accumulators."""
        super().set_state_dict(state_dict)
        self.done = {}

    def sides(self, parameter: paddle.Tensor) -> list[tuple[str, int]]:
        """The axes of its matrix that are preconditioned, by name and length."""
        if parameter.ndim < 2:
            return []
        rows, columns = matrix_shape(parameter.shape)
        return [(name, size) for name, size in (("left", rows), ("right", columns)) if 1 < size <= self.largest]

    def _create_accumulators(self, block, parameters: list) -> None:
        for p in parameters:
            if p.name in self._accumulators["moment1"]:
                continue
            shape = matrix_shape(p.shape)
            self._add_accumulator("moment1", p, dtype="float32", shape=shape)
            self._add_accumulator("moment2", p, dtype="float32", shape=shape)
            self._add_accumulator("updates", p, dtype="int64", shape=[1])
            for side, size in self.sides(p):
                self._add_accumulator(f"{side}_covariance", p, dtype="float32", shape=[size, size])
                self._add_accumulator(f"{side}_basis", p, dtype="float32", shape=[size, size])

    @paddle.no_grad()
    def _append_optimize_op(self, block, parameter_and_gradient: tuple) -> None:
        p, gradient = parameter_and_gradient
        g = gradient.astype("float32").reshape(matrix_shape(p.shape))
        kept = {
            name: by_parameter[p.name] for name, by_parameter in self._accumulators.items() if p.name in by_parameter
        }
        if p.name not in self.done:
            self.done[p.name] = int(kept["updates"].item())
        done, sides = self.done[p.name], [side for side, _ in self.sides(p)]
        if done == 0:  # the first gradient makes the bases and moves nothing
            self._precondition(kept, g, sides, done)
        else:
            rate = self._create_param_lr(parameter_and_gradient)
            step = self._adam(kept, g, {side: kept[f"{side}_basis"] for side in sides}, done)
            share = 1 - rate * self.decay if p.name in self.decayed else 1.0
            paddle.assign(share * p - rate * step.reshape(p.shape), p)
            self._precondition(kept, g, sides, done)
        paddle.assign(kept["updates"] + 1, kept["updates"])
        self.done[p.name] += 1

    def _precondition(self, kept: dict, g: paddle.Tensor, sides: list[str], done: int) -> None:
        """Adds a gradient to the means of G·Gᵀ and Gᵀ·G and, now and then, turns the bases towards their eigenvectors."""
        for side in sides:
            covariance, basis = kept[f"{side}_covariance"], kept[f"{side}_basis"]
            outer = g @ g.T if side == "left" else g.T @ g
            paddle.assign(self.memory * covariance + (1 - self.memory) * outer, covariance)
            if done == 0:
                paddle.assign(paddle.linalg.eigh(covariance)[1].flip(1), basis)  # the largest first
            elif done % self.every == 0:  # a step of the power iteration, made orthogonal
                paddle.assign(paddle.linalg.qr(covariance @ basis)[0], basis)

    def _adam(self, kept: dict, g: paddle.Tensor, bases: dict, t: int) -> paddle.Tensor:
        """Adam's step, its second moment kept of gradients turned into the bases."""
        beta1, beta2 = self.betas
        turned = _turn(g, bases)
        paddle.assign(beta1 * kept["moment1"] + (1 - beta1) * g, kept["moment1"])
        paddle.assign(beta2 * kept["moment2"] + (1 - beta2) * turned * turned, kept["moment2"])
        first = _turn(kept["moment1"], bases) / (1 - beta1**t)
        second = kept["moment2"] / (1 - beta2**t)
        return _turn(first / (second.sqrt() + self.epsilon), bases, back=True)


def matrix_shape(shape: Sequence[int]) -> list[int]:
    """[out, in·k·k] of a kernel, a matrix as it is, and a vector as one row."""
    if len(shape) < 2:
        return [1, shape[0] if shape else 1]
    columns = 1
    for size in shape[1:]:
        columns *= size
    return [shape[0], columns]


def _turn(g: paddle.Tensor, bases: dict, back: bool = False) -> paddle.Tensor:
    """A gradient in the bases of its axes, or out of them."""
    if "left" in bases:
        g = (bases["left"] if back else bases["left"].T) @ g
    if "right" in bases:
        g = g @ (bases["right"].T if back else bases["right"])
    return g


def Soap(
    *,
    parameters: list,
    decayed: set[str],
    weight_decay: float,
    beta1: float = 0.95,
    beta2: float = 0.95,
    epsilon: float = 1e-8,
    memory: float = 0.95,
    every: int = 10,
    largest: int = 1024,
) -> Optimizer:
    """SOAP; for small networks, whose matrices are cheap to decompose.

    Args:
        parameters: what it updates; float32 (not under AMP O2).
        decayed: names of those that decay.
        weight_decay: decoupled, multiplied by the current rate, as AdamW's.
        beta1: of the mean of gradients.
        beta2: of the mean of their squares, in the eigenbasis.
        epsilon: added to the square root.
        memory: of the means of G·Gᵀ and Gᵀ·G, Shampoo's preconditioner.
        every: updates between two steps of the bases.
        largest: rows or columns up to which an axis is preconditioned; a longer one, and vectors, are Adam's along it.

    Raises:
        ConfigError: an argument out of its range.
    """
    means = {"beta1": beta1, "beta2": beta2, "memory": memory}
    for name, value in means.items():
        if not 0 <= value < 1:
            raise ConfigError(f"Optimizer.{name} is {value}, but must be from 0 to below 1")
    for name, value in {"every": every, "largest": largest}.items():
        if value < 1:
            raise ConfigError(f"Optimizer.{name} is {value}, but must be 1 or more")
    if any(p.dtype != paddle.float32 for p in parameters):
        raise ConfigError("ppcore.optim.Soap updates float32 weights: use AMP.level O0 or O1")
    return _Soap(parameters, decayed, weight_decay, (beta1, beta2), epsilon, memory, every, largest)
