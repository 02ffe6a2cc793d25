"""Optimisers and the rule that says which tensors weight decay leaves alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paddle
import paddle.nn as nn
from paddle.optimizer import Optimizer

from ppcore.errors import ConfigError, nearest
from ppcore.model import traits
from ppcore.optim.gradient_norms import clip_each_grad as clip_each_grad
from ppcore.optim.gradient_norms import clip_grad_norm as clip_grad_norm
from ppcore.optim.gradient_norms import widened as widened
from ppcore.optim.lars import LARS as LARS
from ppcore.optim.soap import Soap as Soap
from ppcore.schedules import Schedule


def decayed_names(model: nn.Layer, rules: Sequence[str]) -> set[str]:
    """Structured names of the trainable tensors that weight decay applies to.

    Args:
        model: the model.
        rules: what to leave alone: `1d` (vectors and scalars: biases and norms), or a part of a
            structured name between dots, such as `bias`, `pos_embed`, `norm1`; `pos_embed?` where not every form of a
            model has one.

    Raises:
        ConfigError: a rule that matches nothing (a misspelt rule would silently decay).
    """
    trainable = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    parts = {part for name in trainable for part in name.split(".")}
    for rule in rules:
        if rule != "1d" and not rule.endswith("?") and rule not in parts:
            raise ConfigError(f"Optimizer.no_weight_decay: '{rule}' names no tensor{nearest(rule, parts)}")
    rules = [rule.removesuffix("?") for rule in rules]

    def exempt(name: str, p: paddle.Tensor) -> bool:
        return ("1d" in rules and p.ndim <= 1) or any(rule in name.split(".") for rule in rules)

    return {name for name, p in trainable.items() if not exempt(name, p)}


def layer_scales(model: nn.Layer, decay: float) -> dict[str, float]:
    """Factors of the learning rate by parameter: decay^(last layer - layer) (Clark et al. 2020; BEiT, MAE fine-tuning).

    Args:
        model: says in `layer_ids()` which layer each parameter belongs to, 0 next to the input.
        decay: in (0, 1]; 1 leaves every rate as it is.

    Raises:
        ConfigError: the model does not say.
    """
    ids = traits(model).layer_ids
    if ids is None:
        raise ConfigError(f"Optimizer.layer_decay: {type(model).__name__} does not say which layer a parameter is of")
    layers = ids()
    last = max(layers.values())
    return {name: decay ** (last - layer) for name, layer in layers.items()}


def named_parameters(model: nn.Layer, rules: Sequence[str]) -> dict[str, list[paddle.Tensor]]:
    """Trainable tensors by the rule that names them, for rates of their own.

    Args:
        model: the model.
        rules: consecutive parts of a structured name, such as `head` or `conv_offset.weight`.

    Raises:
        ConfigError: a rule that names no tensor, or a tensor that two rules name.
    """
    found: dict[str, list[paddle.Tensor]] = {rule: [] for rule in rules}
    for name, p in model.named_parameters():
        naming = [] if p.stop_gradient else [rule for rule in rules if f".{rule}." in f".{name}."]
        if len(naming) > 1:
            raise ConfigError(f"Optimizer.base_lr_factors: '{naming[0]}' and '{naming[1]}' both name {name}")
        for rule in naming:
            found[rule].append(p)
    for rule in (rule for rule, named in found.items() if not named):
        ends = {".".join(name.split(".")[-2:]) for name, _ in model.named_parameters()}
        raise ConfigError(f"Optimizer.base_lr_factors: '{rule}' names no tensor{nearest(rule, ends)}")
    return found


def make(
    model: nn.Layer,
    factory: Callable[..., Optimizer],
    *,
    weight_decay: float,
    no_weight_decay: Sequence[str],
    layer_decay: float | None = None,
    **kwargs: Any,
) -> Optimizer:
    """Calls an optimiser factory below on a model's trainable parameters.

    Args:
        model: the network.
        factory: such as `AdamW`.
        weight_decay: as the factory understands it.
        no_weight_decay: rules of `decayed_names`.
        layer_decay: see `layer_scales`; None: one rate for all.
        kwargs: the factory's own arguments.
    """
    names = decayed_names(model, no_weight_decay) if weight_decay else set()
    trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
    if layer_decay is not None:
        scales = layer_scales(model, layer_decay)
        for name, p in trainable:
            p.optimize_attr["learning_rate"] = scales[name]
    return factory(
        parameters=[p for _, p in trainable],
        decayed={p.name for name, p in trainable if name in names},
        weight_decay=weight_decay,
        **kwargs,
    )


@dataclass(frozen=True)
class ScheduledOptimizer:
    """A Paddle optimiser with the schedules of its rate and of its weight decay, as functions of the step.

    Attributes:
        paddle: the optimiser.
        parameters: what it updates.
        rate: learning rate by step.
        clip_norm: largest global norm of the gradients, or None.
        decay: weight decay by step, or None for the one it was made with (AdamW).
        apart: some of its parameters and their own rate by step, which is 0 wherever `rate` is.
        before_update: called with the step between the backward pass and the update, when gradients are the mean over processes and
            unscaled, after `clip_norm`: a task's own clipping, or gradients it takes away (`clear_gradient(False)`).
    """

    paddle: Optimizer
    parameters: list[paddle.Tensor]
    rate: Schedule
    clip_norm: float | None = None
    decay: Schedule | None = None
    apart: Sequence[tuple[list[paddle.Tensor], Schedule]] = ()
    before_update: Callable[[int], None] | None = None

    def prepare(self, step: int) -> float:
        """Sets what the schedules say for a step; returns the learning rate of the parameters that have none of their own."""
        rate = self.rate(step)
        self.paddle.set_lr(rate)
        for parameters, own in self.apart:
            share = own(step) / rate if rate else 1.0
            for p in parameters:
                p.optimize_attr["learning_rate"] = share
        if self.decay is not None:
            self.paddle._weight_decay = self.decay(step)  # Paddle reads it at every update, and has no setter
        return rate


def AdamW(
    *,
    parameters: list,
    decayed: set[str],
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Adam with decoupled weight decay, decay multiplied by the current rate (Loshchilov & Hutter 2019)."""
    return paddle.optimizer.AdamW(
        learning_rate=0.0,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        parameters=parameters,
        weight_decay=weight_decay,
        apply_decay_param_fun=lambda name: name in decayed,
        multi_precision=True,
    )


def Adam(
    *,
    parameters: list,
    decayed: set[str],
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Adam; weight decay is an L2 term in the gradient (ViT table 3 trains with it)."""
    _set_l2(parameters, decayed, weight_decay)
    return paddle.optimizer.Adam(
        learning_rate=0.0, beta1=beta1, beta2=beta2, epsilon=epsilon, parameters=parameters, multi_precision=True
    )


def Momentum(
    *, parameters: list, decayed: set[str], weight_decay: float, momentum: float = 0.9, nesterov: bool = False
) -> Optimizer:
    """SGD with momentum, v ← μ·v + g, w ← w - lr·v; weight decay is an L2 term in the gradient."""
    _set_l2(parameters, decayed, weight_decay)
    return paddle.optimizer.Momentum(
        learning_rate=0.0, momentum=momentum, parameters=parameters, use_nesterov=nesterov, multi_precision=True
    )


def SGD(*, parameters: list, decayed: set[str], weight_decay: float) -> Optimizer:
    """Plain stochastic gradient descent; weight decay is an L2 term in the gradient."""
    _set_l2(parameters, decayed, weight_decay)
    return paddle.optimizer.SGD(learning_rate=0.0, parameters=parameters, multi_precision=True)


def Lamb(
    *,
    parameters: list,
    decayed: set[str],
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-6,
) -> Optimizer:
    """Layer-wise adaptive moments for large batches (You et al. 2020, arXiv 1904.00962)."""
    return paddle.optimizer.Lamb(
        learning_rate=0.0,
        lamb_weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        parameters=parameters,
        exclude_from_weight_decay_fn=lambda p: p.name not in decayed,
        multi_precision=True,
    )


def _set_l2(parameters: list, decayed: set[str], weight_decay: float) -> None:
    if weight_decay:
        for p in parameters:
            if p.name in decayed:
                p.regularizer = paddle.regularizer.L2Decay(weight_decay)


class ConstantAdam:
    """A reference's training by Adam at one rate, in float64, without weight decay or clipping.

    The part of `ppcore.reproduce.fidelity.Reference` that papers with such a training share.

    Args:
        facts: of the stored file; `config` and `training` (`lr`, `betas`, `eps`, `steps`) are read.
    """

    precision = "float64"
    trainings = ("run",)
    # Of a network in one form, whose every gradient and final tensor can be compared.
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    unsettled: Mapping[str, str] = {}
    norm_tolerance = 1e-5

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]

    def label(self, run: str) -> str:
        """Optimiser and precision."""
        return "Adam in float64"

    def optimizer(self, model: nn.Layer, run: str) -> Optimizer:
        """Adam, without weight decay."""
        (beta1, beta2), epsilon = self.recipe["betas"], self.recipe["eps"]
        decay = {"weight_decay": 0.0, "no_weight_decay": []}
        return make(model, Adam, **decay, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def rate(self, run: str, step: int) -> float:
        """Constant."""
        return self.recipe["lr"]

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None
