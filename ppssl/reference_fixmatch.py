"""The tiny trainings whose numbers are stored in `tests/fidelity_data` (fixmatch_tiny, pseudo_label_tiny), computed by torch."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppcore.ema import EMA
from ppssl.semi_losses import fixmatch_loss, pseudo_label_loss
from ppssl.semi_task import FixMatch, PseudoLabel
from ppssl.ssl_schedules import Ramp, SevenSixteenths
from ppssl.wide_resnet import WideResNet

KEPT = "share of unlabelled images whose labels count"


class Averaged(nn.Layer):
    """A wide residual network and the average of its weights, which begins as a copy and has no gradient."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.network = WideResNet(**config)
        self.average = copy.deepcopy(self.network)
        for p in self.average.parameters():
            p.stop_gradient = True

    def forward(self, x):
        """The network and the images [B, C, H, W], of which a task's loss is."""
        return self.network, x


class _Updates:
    """An optimizer after each of whose updates the average is what the engine's is."""

    def __init__(self, model: Averaged, optimizer: paddle.optimizer.Optimizer, decay: float):
        self.average, self.optimizer, self.ema = model.average, optimizer, EMA(model.network, decay)
        self.set_lr, self.clear_grad = optimizer.set_lr, optimizer.clear_grad

    @paddle.no_grad()
    def step(self) -> None:
        """One update of the network, then of the average."""
        self.optimizer.step()
        self.ema.update()
        for name, tensor in self.average.state_dict().items():
            paddle.assign(self.ema.shadow[name].astype(tensor.dtype), output=tensor)


class _Run:
    """What the tasks ask of a run: the network, the length, and to run the network."""

    def __init__(self, model: nn.Layer, plan: Plan):
        self.model, self.plan = model, plan

    def forward(self, network: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
        return network(x)


class _SemiReference(ABC):
    """Stages in evaluation, gradients in training mode, trainings with an average. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "paddle"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float32"
    gradients = ("gradient of every parameter and of the images", 2e-5)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    norm_tolerance = 1e-4
    unsettled: Mapping[str, str] = {}
    curves: Mapping[str, tuple[str, float]] = {"kept": (KEPT, 1e-6)}

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe, self.edges = facts["config"], facts["training"], facts["edges"]
        self.steps, self.trainings = self.recipe["steps"], tuple(self.recipe["runs"])
        self.plan, self.step = Plan(1, 1, self.steps), 0
        self.logs: Mapping[str, Any] = {}

    def build(self) -> Averaged:
        """Both networks in training mode."""
        model = Averaged(self.config)
        model.train()
        return model

    def forward(self, model: Averaged, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes; as stages those of evaluation, and what the losses make of logits at their edges."""
        model.eval()
        with paddle.no_grad():
            stages = model.network.forward_intermediates(x)
        model.train()
        return model(x), stages | self.of_edges()

    @abstractmethod
    def of_edges(self) -> dict[str, paddle.Tensor]:
        """Which of the stored logits are kept, and what they cost."""

    def stages(self, model: Averaged) -> dict[str, tuple[list[str], float]]:
        """The stem, the groups, the end of the network, the edges."""
        groups = [f"group_{number}" for number in range(len(model.network.groups))]
        return {
            "map after the stem": (["stem"], 1e-5),
            "maps after the groups": (groups, 1e-5),
            "last map, its mean and logits": (["norm", "pre_logits", "logits"], 1e-5),
            "what is kept at the threshold, and its loss": (list(self.of_edges()), 1e-6),
        }

    @abstractmethod
    def task(self, network: nn.Layer, run: str) -> Any:
        """The task of a training."""

    def batch(
        self, x: paddle.Tensor, arrays: Mapping[str, np.ndarray], rows: Sequence[int]
    ) -> dict[str, paddle.Tensor]:
        """What the loader would give."""
        labelled = {"labelled.image": "labelled", "labelled.label": "labels"}
        return {name: paddle.to_tensor(arrays[stored]) for name, stored in labelled.items()}

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The task's; of the one pass that of the first training at its end."""
        network, x = outputs
        step = self.steps if run is None else self.step
        [(_, loss, self.logs)] = self.task(network, run or self.trainings[0]).losses(self.batch(x, arrays, rows), step)
        return loss

    def optimizer(self, model: Averaged, run: str) -> Any:
        """Nesterov's momentum with an L2 term on what is no vector, and the average after it."""
        decay = {"weight_decay": self.recipe["weight_decay"], "no_weight_decay": ["1d"]}
        made = optim.make(model.network, optim.Momentum, **decay, momentum=self.recipe["momentum"], nesterov=True)
        return _Updates(model, made, self.recipe["ema"])

    def rate(self, run: str, step: int) -> float:
        """cos(7πk / 16K) of the first."""
        self.step = step
        return SevenSixteenths(base_lr=self.recipe["lr"]).bind(self.plan)(step)

    def watched(self, model: Averaged, run: str) -> dict[str, float]:
        """What the task logged of the step."""
        return {"kept": float(self.logs["kept"])}

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None


class FixMatchReference(_SemiReference):
    """FixMatch with the label of the weak view, and with its probabilities at a temperature."""

    def label(self, run: str) -> str:
        """What the strong view is to be, and the optimizer."""
        target = {"hard": "the weak view's label", "soft": "the weak view's probabilities"}[run]
        return f"FixMatch by {target}, Nesterov's momentum and an average"

    def of_edges(self) -> dict[str, paddle.Tensor]:
        weak, strong = (paddle.to_tensor(self.edges[name]) for name in ("logits", "strong"))
        loss, kept = fixmatch_loss(weak, strong, self.edges["threshold"])
        return {"edges_kept": kept, "edges_loss": loss}

    def task(self, network: nn.Layer, run: str) -> FixMatch:
        return FixMatch(run=_Run(network, self.plan), **self.recipe["runs"][run])

    def batch(
        self, x: paddle.Tensor, arrays: Mapping[str, np.ndarray], rows: Sequence[int]
    ) -> dict[str, paddle.Tensor]:
        strong = paddle.to_tensor(arrays["strong"][rows])
        return super().batch(x, arrays, rows) | {"weak": x.unsqueeze(1), "strong": strong.unsqueeze(1)}


class PseudoLabelReference(_SemiReference):
    """Pseudo-labels as FixMatch's authors have them, and as Lee has."""

    def label(self, run: str) -> str:
        """Whose, and the optimizer."""
        whose = {"google": "pseudo-labels above a threshold", "lee": "Lee's pseudo-labels"}[run]
        return f"{whose}, Nesterov's momentum and an average"

    def of_edges(self) -> dict[str, paddle.Tensor]:
        logits, found = paddle.to_tensor(self.edges["logits"]), {}
        for name, strict in (("passed", True), ("reached", False)):
            loss, kept = pseudo_label_loss(logits, self.edges["threshold"], strict)
            found |= {f"edges_{name}_kept": kept, f"edges_{name}_loss": loss}
        return found

    def task(self, network: nn.Layer, run: str) -> PseudoLabel:
        recipe = dict(self.recipe["runs"][run])
        ramp = recipe.pop("ramp")
        weight = Ramp(peak=ramp["peak"], start=Duration(steps=ramp["start"]), end=Duration(steps=ramp["end"]))
        return PseudoLabel(run=_Run(network, self.plan), weight=weight, **recipe)

    def batch(
        self, x: paddle.Tensor, arrays: Mapping[str, np.ndarray], rows: Sequence[int]
    ) -> dict[str, paddle.Tensor]:
        return super().batch(x, arrays, rows) | {"image": x}
