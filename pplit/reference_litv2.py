"""The tiny LITv2 whose numbers are stored in `tests/fidelity_data/litv2_tiny`, computed by torch."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore import losses, optim
from ppcore.config.durations import Duration, Plan
from ppcore.schedules import CosineAfterUpdate
from pplit.litv2 import LITv2

OFFSETS = "conv_offset.weight"
IN_TRAINING = ("merging_1", "merging_2", "merging_3", "logits")


class LITv2Reference:
    """Every stage, in evaluation and in training, and every gradient; 40 steps of AdamW, the offsets at their own rate.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "litv2"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float64"
    gradients = ("gradient of every parameter and of the images", 5e-5)
    # A constant added to every key changes no softmax.
    zero_gradients: Mapping[str, tuple[int, int]] = {"l_kv.bias": (0, 2), "h_qkv.bias": (1, 3)}
    trainings = ("run",)
    # The loss is in float32; where a place crosses a pixel the gradient jumps, and rounding decides when.
    norm_tolerance = 2e-4
    unsettled: Mapping[str, str] = {}

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]
        self.scheduled: optim.ScheduledOptimizer | None = None

    def build(self) -> LITv2:
        """The model, in evaluation mode."""
        model = LITv2(**self.config)
        model.eval()
        return model

    def forward(self, model: LITv2, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """Logits [B, K], and the stages of images [B, C, H, W]: of evaluation, and some of training."""
        training = copy.deepcopy(model)  # a batch norm's statistics move
        training.train()
        with paddle.no_grad():
            seen = training.forward_intermediates(x)
        stages = model.forward_intermediates(x)
        return stages["logits"], stages | {f"training_{name}": seen[name] for name in IN_TRAINING}

    def stages(self, model: LITv2) -> dict[str, tuple[list[str], float]]:
        """The embedding, the maps between the stages, the logits."""
        last = len(model.layers) - 1
        merged = [f"merging_{i}" for i in range(1, last + 1)]
        return {
            "patch embedding": (["patch_embed"], 1e-5),
            "maps after every stage and the final norm": ([*(f"stage_{i}" for i in range(last + 1)), "norm"], 2e-5),
            "maps after deformable merging": (merged, 2e-5),
            "pooled features and logits": (["pre_logits", "logits"], 2e-5),
            "maps and logits in training": ([f"training_{name}" for name in IN_TRAINING], 1e-4),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Cross-entropy with soft targets, in float32 as in every training."""
        return losses.CrossEntropy()(outputs, {"target": paddle.to_tensor(arrays["target"][rows])})

    def label(self, run: str) -> str:
        """Optimiser, rates and clipping."""
        return f"AdamW, offsets at {self.recipe['offset_factor']:g} of the base, clip {self.recipe['clip']:g}"

    def optimizer(self, model: nn.Layer, run: str) -> paddle.optimizer.Optimizer:
        """AdamW in the recipe's three groups."""
        (beta1, beta2), recipe = self.recipe["betas"], self.recipe
        constants = {"beta1": beta1, "beta2": beta2, "epsilon": recipe["eps"]}
        decay = {"weight_decay": recipe["weight_decay"], "no_weight_decay": ["1d"]}
        made = optim.make(model, optim.AdamW, **decay, **constants)
        base, warmup = recipe["base_lr"], Duration(steps=recipe["warmup"])

        def schedule(peak: float):
            rates = {"base_lr": peak, "warmup_lr": recipe["warmup_lr"], "min_lr": recipe["min_lr"]}
            return CosineAfterUpdate(**rates, warmup=warmup).bind(Plan(1, 1, self.steps))

        [offsets] = optim.named_parameters(model, [OFFSETS]).values()
        apart = [(offsets, schedule(base * recipe["offset_factor"]))]
        self.scheduled = optim.ScheduledOptimizer(made, list(model.parameters()), schedule(base), apart=apart)
        return made

    def rate(self, run: str, step: int) -> float:
        """The base's; the offsets' is set with it."""
        return self.scheduled.prepare(step)

    def clip(self, run: str) -> float | None:
        """The recipe's."""
        return self.recipe["clip"]
