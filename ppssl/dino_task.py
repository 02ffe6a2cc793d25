"""DINO's training: a student that learns to say of any crop of an image what its own average says of the large ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.config.durations import Duration
from ppcore.errors import ConfigError, nearest
from ppcore.layers import checks
from ppcore.model import trained_parameters
from ppssl.dino_head import DINOHead, DINONetwork
from ppssl.dino_loss import DINOLoss, entropy
from ppssl.image_views import crops_of
from ppssl.ssl_schedules import LinspaceCosine

_HEAD = ("hidden_dim", "bottleneck_dim", "num_layers", "batch_norm", "train_last_norm")


class DINO:
    """Self-distillation without labels (Caron et al. 2021).

    The network of `Arch` is the teacher's backbone: what is evaluated, exported and handed on. The student is another of
    `Arch` with the arguments of `student`, such as its stochastic depth; both begin with the same weights. Both are in
    training mode.

    A step: the teacher sees the global crops, the student all; the loss uses the centre of the step before; each gradient is
    clipped by its own norm; the last layer's are taken away at first; the optimizer updates the student; the teacher follows
    it, and the centre the teacher's outputs. With accumulation the centre moves once, by the mean over the micro-batches.

    The log has the teacher's entropy (ln K is one form of collapse, 0 another) and its distance from the student's.

    Args:
        run: of the training.
        features: outputs of the network of `Arch`.
        momentum: of the teacher, by step (the paper: a cosine from 0.996 to 1).
        out_dim: outputs of the heads, K.
        head: other arguments of `DINOHead`, by name; the teacher's last norms are never trained, but follow the student's.
        student: arguments of `Arch` that differ for the student.
        global_views: the batch's arrays with the global crops, [B, count, C, H, W] each, two crops in all.
        local_views: those with the local crops.
        temperature: of the teacher, τ_t.
        warmup_temperature: τ_t at the beginning.
        temperature_warmup: how long it rises, epoch by epoch; None: it does not.
        student_temperature: τ_s.
        center_momentum: share of the centre that a step keeps.
        freeze_last_layer: how long the last layer does not train.
        clip: largest norm of the gradient of each tensor; None: not clipped.

    Raises:
        ConfigError: an argument out of its range, or views that are not there.
    """

    def __init__(
        self,
        *,
        run: Any,
        features: int,
        momentum: LinspaceCosine,
        out_dim: int = 65536,
        head: Mapping[str, Any] | None = None,
        student: Mapping[str, Any] | None = None,
        global_views: Sequence[str] = ("global_1", "global_2"),
        local_views: Sequence[str] = ("local",),
        temperature: float = 0.04,
        warmup_temperature: float = 0.04,
        temperature_warmup: Duration | None = None,
        student_temperature: float = 0.1,
        center_momentum: float = 0.9,
        freeze_last_layer: Duration | None = None,
        clip: float | None = 3.0,
    ):
        checks.positive(self, temperature=temperature, warmup_temperature=warmup_temperature)
        if clip is not None:
            checks.positive(self, clip=clip)
        self.run, self.clip = run, clip
        self.views = list(global_views), list(local_views)
        self.momentum = momentum.bind(run.plan)
        self.temperatures = warmup_temperature, temperature
        self.warmup = temperature_warmup.in_steps(run.plan) if temperature_warmup else 0
        self.frozen = freeze_last_layer.in_steps(run.plan) if freeze_last_layer else 0
        settings = dict(head or {})
        for name in settings.keys() - set(_HEAD):
            raise ConfigError(f"ppssl.DINO: head has no {name}{nearest(name, _HEAD)}, only {', '.join(_HEAD)}")
        self.model = run.model
        self.teacher = DINONetwork(self.model, DINOHead(features, out_dim, **(settings | {"train_last_norm": False})))
        self.student = DINONetwork(run.network(**(student or {})), DINOHead(features, out_dim, **settings))
        start_alike(self.student, self.teacher)
        for parameter in self.teacher.parameters():
            parameter.stop_gradient = True
        self.criterion = DINOLoss(out_dim, student_temperature=student_temperature, center_momentum=center_momentum)
        parts = {"student": self.student, "teacher": self.teacher, "criterion": self.criterion}
        self.networks = nn.LayerDict(parts)
        self.seen: list[paddle.Tensor] = []  # the teacher's mean outputs in the micro-batches of this step

    def optimizers(self) -> dict[str, Any]:
        made = self.run.optimizer(self.student)
        return {"model": dataclasses.replace(made, before_update=self.limit_gradients)}

    def losses(self, batch: dict, step: int):
        large, small = (crops_of(batch, names, "ppssl.DINO") for names in self.views)
        if len(large) != 2:
            raise ConfigError(f"ppssl.DINO: {', '.join(self.views[0])} are {len(large)} crops, but must be two")
        with paddle.no_grad():
            taught = self.run.forward(self.teacher, large)
            targets = self.criterion.targets(taught, self.temperature(step))
            self.seen.append(taught.mean(axis=0, keepdim=True))
        guessed = self.run.forward(self.student, large + small)
        loss = self.criterion(guessed, targets)
        h = entropy(targets)
        norm = paddle.sqrt(self.criterion.center.square().sum())
        yield "model", loss, {"teacher_entropy": h, "divergence": loss.detach() - h, "center_norm": norm}

    def temperature(self, step: int) -> float:
        """The teacher's, of a step: a line over the epochs of the warm-up, both ends among them, and then constant."""
        first, last = self.temperatures
        epochs, epoch = (steps // self.run.plan.steps_per_epoch for steps in (self.warmup, step))
        return float(np.linspace(first, last, epochs)[epoch]) if epoch < epochs else last

    def limit_gradients(self, step: int) -> None:
        """Clips each gradient of the student and, at first, takes those of the last layer away: no update, no decay."""
        if self.clip is not None:
            optim.clip_each_grad(self.student.parameters(), self.clip)
        if step < self.frozen:
            for parameter in self.student.head.last_layer.parameters():
                parameter.clear_gradient(False)

    @paddle.no_grad()
    def after_update(self, step: int) -> None:
        momentum = self.momentum(step)
        ours, theirs = (trained_parameters(network) for network in (self.teacher, self.student))
        for name, parameter in ours.items():
            paddle.assign(parameter * momentum + theirs[name] * (1 - momentum), output=parameter)
        mean = sum(self.seen) / len(self.seen)
        self.seen.clear()
        self.criterion.update_center(self.run.world.mean(mean))

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


def start_alike(student: nn.Layer, teacher: nn.Layer) -> None:
    """Gives a student its teacher's weights.

    Raises:
        ConfigError: they are not the same network.
    """
    ours, theirs = ({n: tuple(t.shape) for n, t in each.state_dict().items()} for each in (student, teacher))
    differ = sorted({name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)})
    if differ:
        raise ConfigError(
            f"ppssl.DINO: student changes the weights ({differ[0]}): it may change drop_path_rate and such, as the teacher follows it"
        )
    student.set_state_dict(teacher.state_dict())
