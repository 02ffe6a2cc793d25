"""The small residual network with SimCLR's head whose numbers are stored in `tests/fidelity_data/simclr_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.vision.models import resnet

from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppssl.simclr_task import SimCLR
from ppssl.ssl_schedules import SimCLRSchedule


class SmallEncoder(nn.Layer):
    """Two of ResNet-18's blocks for small images.

    Args:
        width: channels of the first; the second has twice as many.

    Shape:
        [B, 3, H, W] -> [B, 2·width].
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(3, width, 3, padding=1, bias_attr=False), nn.BatchNorm2D(width)
        between = nn.Sequential(nn.Conv2D(width, 2 * width, 1, stride=2, bias_attr=False), nn.BatchNorm2D(2 * width))
        self.layer1, self.layer2 = resnet.BasicBlock(width, width), resnet.BasicBlock(width, 2 * width, 2, between)

    def forward(self, x):
        return self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))).mean(axis=[2, 3])


class Contrast(nn.Layer):
    """An encoder and a head, which `ppssl.SimCLR` trains.

    Args:
        config: width of the encoder, outputs and layers of the head.
        temperature: of the loss.
    """

    def __init__(self, config: Mapping[str, Any], temperature: float):
        super().__init__()
        run = SimpleNamespace(
            model=SmallEncoder(config["width"]),
            config=SimpleNamespace(accumulate=1),
            forward=lambda network, x: network(x),
        )
        self.task = SimCLR(
            run=run, features=2 * config["width"], temperature=temperature, out_dim=config["out"],
            num_layers=config["layers"],
        )  # fmt: skip
        self.encoder, self.head = self.task.model, self.task.head

    def forward(self, sheets):
        """The batch of two views of each image, side by side in sheets [B, 3, S, 2·S]."""
        return {"view": paddle.stack(sheets.chunk(2, axis=3), axis=1)}


class SimCLRReference:
    """Features, projections, each anchor's loss, every gradient; 20 steps of LARS with decay and without.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "paddle"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float32"  # the loss and LARS are
    gradients = ("gradient of every parameter and of both views", 5e-5)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    trainings = ("decayed", "plain")
    norm_tolerance = 1e-4
    unsettled: Mapping[str, str] = {}
    curves: Mapping[str, tuple[str, float]] = {
        "parameters": ("norm of every parameter after every step", 1e-5),
        "moved": ("how far every matrix has moved after every step", 3e-5),
    }

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]
        warmup = Duration(steps=self.recipe["warmup"])
        schedule = SimCLRSchedule(base_lr=self.recipe["lr"], warmup=warmup)
        self.schedule = schedule.bind(Plan(1, 256, self.steps))
        self.task: SimCLR | None = None
        self.start: dict[str, np.ndarray] = {}

    def build(self, **variant: Any) -> Contrast:
        """Encoder and head in training mode."""
        model = Contrast(self.config, self.recipe["temperature"])
        model.train()
        self.task = model.task
        return model

    def forward(self, model: Contrast, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The views, of which the loss is, and what the network gives of them."""
        batch = model(x)
        with paddle.no_grad():
            features = model.encoder(paddle.concat([batch["view"][:, i] for i in range(2)]))
            projections = model.head(features)
            anchors, _ = model.task.criterion.per_anchor(*projections.chunk(2))
        first, second = features.chunk(2)
        found = {"features_first": first, "features_second": second, "projections": projections, "anchors": anchors}
        return batch, found

    def stages(self, model: Contrast) -> dict[str, tuple[list[str], float]]:
        """Features, projections, the loss of each anchor."""
        return {
            "features of both views": (["features_first", "features_second"], 1e-5),
            "projections": (["projections"], 2e-5),
            "loss of each anchor": (["anchors"], 2e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The task's."""
        [(_, loss, _)] = self.task.losses(outputs, 0)
        return loss

    def label(self, run: str) -> str:
        """Optimiser and decay."""
        return f"LARS, decay {self.recipe['weight_decay'][run]:g}"

    def optimizer(self, model: Contrast, run: str) -> paddle.optimizer.Optimizer:
        """LARS as the recipes have it."""
        self.start = {name: p.numpy().copy() for name, p in _trained(model).items()}
        decay = {"weight_decay": self.recipe["weight_decay"][run], "no_weight_decay": ["1d"]}
        return optim.make(model, optim.LARS, **decay, form="rate_inside")

    def rate(self, run: str, step: int) -> float:
        """A warm-up and half a cosine."""
        return self.schedule(step)

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None

    def watched(self, model: Contrast, run: str) -> dict[str, Any]:
        """The curves of the step just done."""
        now = {name: p.numpy() for name, p in sorted(_trained(model).items())}
        lengths = [float(np.linalg.norm(array)) for array in now.values()]
        shares = [np.linalg.norm(a - self.start[n]) / np.linalg.norm(self.start[n]) for n, a in now.items()]
        moved = [float(share) * (a.ndim > 1) for share, a in zip(shares, now.values(), strict=True)]
        return {"parameters": lengths, "moved": moved}


def _trained(model: nn.Layer) -> dict[str, paddle.Tensor]:
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient}
