"""The tiny Swin Transformer whose numbers are stored in `tests/fidelity_data/swin_tiny`, computed by timm and torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import losses, optim
from ppcore.config.durations import Duration, Plan
from ppcore.schedules import CosineAfterUpdate
from ppswin.swin import SwinTransformer


class SwinReference:
    """Every map of the forward pass, every gradient, 40 updates of two recipes. What `ppcore.reproduce` asks for.

    Args:
        facts: of the stored file.
    """

    layout = "timm"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float64"
    gradients = ("gradient of every parameter and of the images", 2e-5)
    # The key third is zero in exact arithmetic (softmax ignores what all keys share), and so Adam divides the rounding
    # noise in its gradient by itself: lr-sized steps at random.
    zero_gradients: Mapping[str, tuple[int, int]] = {"qkv.bias": (1, 3)}
    unsettled: Mapping[str, str] = {"qkv.bias": "qkv biases"}
    norm_tolerance = 1e-5
    not_decayed = ("1d", "relative_position_bias_table")

    def __init__(self, facts: Mapping[str, Any]):
        self.config = facts["config"]
        self.steps = facts["training"]["steps"]
        self.recipes = {f"runs/{name}": recipe for name, recipe in facts["training"]["runs"].items()}
        self.trainings = list(self.recipes)
        self.rates = {run: _schedule(recipe["schedule"]) for run, recipe in self.recipes.items()}

    def build(self) -> SwinTransformer:
        """The model, in evaluation mode."""
        model = SwinTransformer(**self.config)
        model.eval()
        return model

    def forward(self, model: SwinTransformer, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """Logits [B, K], and the maps [B, h, w, C] of images [B, C, H, W]."""
        stages = model.forward_intermediates(x)
        return stages["logits"], stages

    def stages(self, model: SwinTransformer) -> dict[str, tuple[list[str], float]]:
        """The embedding, the blocks, patch merging, the logits."""
        depths = [len(stage.blocks) for stage in model.layers]
        blocks = [f"stage_{s}_block_{b:02d}" for s, depth in enumerate(depths) for b in range(depth)]
        return {
            "patch embedding and its norm": (["patch_embed"], 1e-5),
            "map after every block and the final norm": ([*blocks, "norm"], 1e-5),
            "patch merging": ([f"merge_{s}" for s in range(len(depths) - 1)], 1e-5),
            "logits": (["logits"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Cross-entropy with soft targets."""
        target = paddle.to_tensor(arrays["soft_targets"][rows]).astype(outputs.dtype)
        return losses.CrossEntropy()(outputs, {"target": target})

    def label(self, run: str) -> str:
        """Clipping, and what the cosine covers."""
        recipe = self.recipes[run]
        covers = "what follows the warm-up" if recipe["schedule"]["prefix"] else "everything"
        return f"AdamW, cosine over {covers}, clip {recipe['clip']:g}"

    def optimizer(self, model: SwinTransformer, run: str) -> paddle.optimizer.Optimizer:
        """AdamW that spares vectors and bias tables from decay."""
        beta1, beta2 = self.recipes[run]["betas"]
        decay = {"weight_decay": self.recipes[run]["weight_decay"], "no_weight_decay": list(self.not_decayed)}
        return optim.make(model, optim.AdamW, **decay, beta1=beta1, beta2=beta2)

    def rate(self, run: str, step: int) -> float:
        """`CosineAfterUpdate`'s."""
        return self.rates[run](step)

    def clip(self, run: str) -> float | None:
        """The recipe's."""
        return self.recipes[run]["clip"]


def _schedule(stored: Mapping[str, Any]):
    """The rate of every update, as a configuration would have it."""
    schedule = CosineAfterUpdate(
        base_lr=stored["base"],
        warmup=Duration(steps=stored["warmup"]),
        warmup_lr=stored["warmup_lr"],
        min_lr=stored["min_lr"],
        warmup_prefix=stored["prefix"],
    )
    return schedule.bind(Plan(stored["total"], 1, stored["total"]))
