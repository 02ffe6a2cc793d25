"""The tiny DINO whose numbers are stored in `tests/fidelity_data/dino_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppcore.optim import ScheduledOptimizer
from ppssl.dino_loss import entropy
from ppssl.dino_task import DINO
from ppssl.dino_vit import DINOVisionTransformer
from ppssl.ssl_schedules import LinspaceCosine

_UNSETTLED = "qkv.bias"  # a constant added to every key changes no softmax


class SelfDistillation(nn.Layer):
    """Student, teacher and centre, which `ppssl.DINO` trains; what it needs of a run is here, too.

    Args:
        config: sizes of the backbone, the head and the local crops.
        recipe: of the training.
    """

    def __init__(self, config: Mapping[str, Any], recipe: Mapping[str, Any]):
        super().__init__()
        backbone, head = config["backbone"], dict(config["head"])
        self.size, self.local, self.locals = backbone["img_size"], config["local_size"], config["local_crops"]
        self.task = DINO(
            run=_Run(backbone, recipe), features=backbone["embed_dim"], out_dim=head.pop("out_dim"), head=head,
            momentum=LinspaceCosine(base_lr=recipe["momentum"], final=1.0), global_views=["global"],
            temperature=recipe["temperature"], warmup_temperature=recipe["warmup_temperature"],
            temperature_warmup=Duration(epochs=float(recipe["temperature_warmup_epochs"])),
            student_temperature=recipe["student_temperature"], center_momentum=recipe["center_momentum"],
            freeze_last_layer=Duration(epochs=float(recipe["freeze_epochs"])), clip=recipe["clip"],
        )  # fmt: skip
        self.student, self.teacher, self.criterion = self.task.student, self.task.teacher, self.task.criterion

    def forward(self, sheets):
        """The batch of the crops of sheets [B, 3, S, 2·S + s]: the global ones side by side, the local ones right of them."""
        side = 2 * self.size
        large = [sheets[..., : self.size], sheets[..., self.size : side]]
        small = [sheets[:, :, self.local * i : self.local * (i + 1), side:] for i in range(self.locals)]
        return {"global": paddle.stack(large, axis=1), "local": paddle.stack(small, axis=1)}


class _Run:
    """What the task asks of a run: networks, the length, the optimizer, one process."""

    def __init__(self, backbone: Mapping[str, Any], recipe: Mapping[str, Any]):
        self.backbone, self.recipe = backbone, recipe
        self.model, self.world = self.network(), SimpleNamespace(mean=lambda tensor: tensor)
        self.plan = Plan(recipe["steps_per_epoch"], 1, recipe["steps"])

    def network(self, **changes: Any) -> DINOVisionTransformer:
        return DINOVisionTransformer(**self.backbone, **changes)

    def forward(self, network: nn.Layer, x: Any) -> paddle.Tensor:
        return network(x)

    def optimizer(self, network: nn.Layer) -> ScheduledOptimizer:
        """AdamW at the recipe's rate and decay, which leaves out vectors."""
        recipe, (first, last) = self.recipe, self.recipe["weight_decay"]
        warmup = Duration(epochs=float(recipe["warmup_epochs"]))
        rate = LinspaceCosine(base_lr=recipe["lr"], final=recipe["min_lr"], warmup=warmup).bind(self.plan)
        decay = LinspaceCosine(base_lr=first, final=last).bind(self.plan)
        made = optim.make(network, optim.AdamW, weight_decay=first, no_weight_decay=["1d"])
        return ScheduledOptimizer(made, list(network.parameters()), rate, decay=decay)


class _Updates:
    """The updates of a task, called as an optimizer is: what stands before and after each belongs to it."""

    def __init__(self, task: DINO):
        self.task, self.scheduled, self.now = task, task.optimizers()["model"], 0
        self.gradients: list[float] = []

    def prepare(self, step: int) -> float:
        self.now = step
        return self.scheduled.prepare(step)

    def set_lr(self, rate: float) -> None:
        self.scheduled.paddle.set_lr(rate)

    def step(self) -> None:
        self.gradients = _norms(self.task.student, lambda p: p.grad)
        self.scheduled.before_update(self.now)
        self.scheduled.paddle.step()
        self.task.after_update(self.now)

    def clear_grad(self) -> None:
        self.scheduled.paddle.clear_grad()


def _norms(network: nn.Layer, what=lambda p: p) -> list[float]:
    """Norms of `what(parameter)`, 0 where there is none, by the parameters' sorted names."""
    found = {name: what(p) for name, p in network.named_parameters() if not name.endswith(_UNSETTLED)}
    return [0.0 if found[n] is None else float(np.linalg.norm(found[n].numpy())) for n in sorted(found)]


class DINOReference:
    """Features, outputs, targets, the centre, the student's gradients; 16 steps with the last layer's lengths frozen, and trained.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "paddle"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float32"  # the loss is
    gradients = ("gradient of every parameter of the student and of all crops", 2e-5)
    zero_gradients: Mapping[str, tuple[int, int]] = {_UNSETTLED: (1, 3)}
    trainings = ("frozen", "free")
    norm_tolerance = 5e-5
    unsettled: Mapping[str, str] = {_UNSETTLED: "qkv biases"}
    curves: Mapping[str, tuple[str, float]] = {
        "entropy": ("entropy of the teacher's targets", 1e-5),
        "center": ("centre after every step", 1e-5),
        "gradients": ("gradient norm of every tensor at every step", 5e-5),
        "student": ("norm of every tensor of the student after every step", 1e-5),
        "teacher": ("norm of every tensor of the teacher after every step", 1e-5),
    }

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]
        self.updates: _Updates | None = None
        self.task: DINO | None = None
        self.logs: Mapping[str, Any] = {}

    def build(self, **variant: Any) -> SelfDistillation:
        """Both networks and the centre."""
        self.updates, model = None, SelfDistillation(self.config, self.recipe)
        self.task = model.task
        return model

    @paddle.no_grad()
    def _seen(self, model: SelfDistillation, batch: Mapping[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
        large, small = ([batch[kind][:, i] for i in range(batch[kind].shape[1])] for kind in ("global", "local"))
        criterion, before = model.criterion, model.criterion.center.clone()
        taught = model.teacher(large)
        targets = criterion.targets(taught, model.task.temperature(0))
        criterion.update_center(taught.mean(axis=0, keepdim=True))
        moved = criterion.center.clone()
        paddle.assign(before, output=criterion.center)
        return {
            "features": model.student.backbone(large[0]), "features_local": model.student.backbone(small[0]),
            "student": model.student(large + small), "teacher": taught, "targets": targets,
            "entropy": entropy(targets).reshape([1]), "center": moved,
        }  # fmt: skip

    def forward(self, model: SelfDistillation, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The crops of sheets, of which the loss is, and what both networks give of them."""
        batch = model(x)
        return batch, self._seen(model, batch)

    def stages(self, model: SelfDistillation) -> dict[str, tuple[list[str], float]]:
        """Features, outputs, targets, centre."""
        return {
            "class tokens of global and local crops": (["features", "features_local"], 1e-5),
            "outputs of student and teacher": (["student", "teacher"], 1e-5),
            "targets and their entropy": (["targets", "entropy"], 2e-5),
            "centre after a step": (["center"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The task's, with the centre as it is."""
        [(_, loss, self.logs)] = self.task.losses(outputs, self.updates.now if self.updates else 0)
        return loss

    def label(self, run: str) -> str:
        """Optimiser, and what is trained."""
        return "AdamW, lengths of the last layer " + ("trained" if run == "free" else "frozen")

    def optimizer(self, model: SelfDistillation, run: str) -> _Updates:
        """The student's, and what follows it."""
        model.student.head.last_layer.weight_g.stop_gradient = run != "free"
        self.updates = _Updates(model.task)
        return self.updates

    def rate(self, run: str, step: int) -> float:
        """The student's; the decay is set with it."""
        return self.updates.prepare(step)

    def clip(self, run: str) -> float | None:
        """The task clips, tensor by tensor."""
        return None

    def watched(self, model: SelfDistillation, run: str) -> dict[str, Any]:
        """The curves of the step just done."""
        return {
            "entropy": float(self.logs["teacher_entropy"]), "center": model.criterion.center.numpy()[0],
            "gradients": self.updates.gradients, "student": _norms(model.student), "teacher": _norms(model.teacher),
        }  # fmt: skip
