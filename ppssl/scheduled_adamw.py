"""The training of a tiny network by AdamW, as the stored references of MAE, CAN and Jigsaw-ViT have it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppcore.schedules import Schedule, ViTSchedule
from ppssl.masking import Mask, random_mask


class ScheduledAdamW:
    """AdamW with a warm-up from 0 and a cosine from its end to 0, without clipping; masks of the stored noise.

    The part of `ppcore.reproduce.fidelity.Reference` that these papers share.

    Args:
        facts: of the stored file; `config`, `training`, `mask_ratio` and `mask_noise` are read.
    """

    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float64"
    gradients = ("gradient of every parameter and of the images", 2e-5)
    # A constant added to every key changes no softmax.
    zero_gradients: Mapping[str, tuple[int, int]] = {"qkv.bias": (1, 3)}
    trainings = ("run",)
    norm_tolerance = 2e-5
    unsettled: Mapping[str, str] = {}
    no_weight_decay: Sequence[str] = ("1d",)

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]
        self.mask_ratio, self.mask_noise = facts["mask_ratio"], np.array(facts["mask_noise"])

    def mask(self, rows: Sequence[int], view: int = 0) -> Mask:
        """The masks of a view of the pool's images, of the size of their grid."""
        patches = np.prod([side // self.config["patch_size"] for side in self.config["img_size"]])
        return random_mask(self.mask_noise[list(rows), view * patches : (view + 1) * patches], self.mask_ratio)

    def label(self, run: str) -> str:
        """Optimiser, schedule and decay."""
        return f"AdamW, warm-up and cosine, decay {self.recipe['weight_decay']:g}"

    def optimizer(self, model: nn.Layer, run: str) -> paddle.optimizer.Optimizer:
        """AdamW with decay of all but what `no_weight_decay` names."""
        (beta1, beta2), epsilon = self.recipe["betas"], self.recipe["eps"]
        decay = {"weight_decay": self.recipe["weight_decay"], "no_weight_decay": self.no_weight_decay}
        return optim.make(model, optim.AdamW, **decay, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def rate(self, run: str, step: int) -> float:
        """The schedule's."""
        return self._schedule()(step)

    def _schedule(self) -> Schedule:
        made = ViTSchedule(base_lr=self.recipe["base_lr"], warmup=Duration(steps=self.recipe["warmup"]))
        return made.bind(Plan(1, 1, self.steps))

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None
