"""The tiny ViT whose numbers are stored in `tests/fidelity_data/vit_tiny`, computed by torch and transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import losses, optim
from ppvit.vit import VisionTransformer


class ViTReference:
    """Stages of the forward pass, every gradient, 40 steps of three recipes.

    It is what `ppcore.reproduce` asks of a reference; other classifiers change what differs.

    Args:
        facts: of the stored file.
    """

    layout = "timm"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float32"
    gradients = ("gradient of every parameter and of the images", 2e-5)
    # The key third is zero in exact arithmetic (softmax ignores what all keys share), and so
    # Adam divides the rounding noise in its gradient by itself: lr-sized steps at random.
    zero_gradients: Mapping[str, tuple[int, int]] = {"qkv.bias": (1, 3)}
    unsettled: Mapping[str, str] = {"qkv.bias": "qkv biases"}
    norm_tolerance = 5e-5
    optimizers: Mapping[str, Any] = {"AdamW": optim.AdamW, "SGD": optim.Momentum}
    not_decayed = ("1d", "cls_token", "pos_embed")

    def __init__(self, facts: Mapping[str, Any]):
        self.config = facts["config"]
        self.warmup, self.steps = facts["training"]["warmup"], facts["training"]["steps"]
        self.recipes = {f"runs/{name}": recipe for name, recipe in facts["training"]["runs"].items()}
        self.trainings = list(self.recipes)

    def build(self) -> VisionTransformer:
        """The model, in evaluation mode."""
        model = self.network()
        model.eval()
        return model

    def network(self) -> VisionTransformer:
        """The model."""
        return VisionTransformer(**self.config)

    def forward(self, model: VisionTransformer, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """Logits [B, K], and the stages of images [B, C, H, W]."""
        stages = model.forward_intermediates(x)
        return stages["logits"], stages

    def stages(self, model: VisionTransformer) -> dict[str, tuple[list[str], float]]:
        """The embedding, the tokens, the logits."""
        blocks = [f"block_{number:02d}" for number in range(len(model.blocks))]
        return {
            "patch and position embedding": (["patch_embed", "pos_embed"], 1e-5),
            "tokens after every block and the final norm": ([*blocks, "norm"], 1e-5),
            "logits": (["logits"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Cross-entropy with soft targets, or with several classes an image."""
        if run is not None and self.recipes[run]["loss"].startswith("binary"):
            targets, criterion = arrays["multi_targets"], losses.BinaryCrossEntropy(binarize=False)
        else:
            targets, criterion = arrays["soft_targets"], losses.CrossEntropy()
        return criterion(outputs, {"target": paddle.to_tensor(targets[rows])})

    def label(self, run: str) -> str:
        """Optimiser, loss and clipping."""
        recipe = self.recipes[run]
        clip = f", clip {recipe['clip']:g}" if recipe["clip"] else ""
        return f"{recipe['optimizer']}, {recipe['loss']}{clip}"

    def optimizer(self, model: VisionTransformer, run: str) -> paddle.optimizer.Optimizer:
        """The optimiser of a recipe, with its constants."""
        recipe = self.recipes[run]
        constants = {"momentum": recipe["momentum"]} if "momentum" in recipe else {}
        constants |= dict(zip(("beta1", "beta2"), recipe.get("betas", ()), strict=False))
        factory = self.optimizers[recipe["optimizer"]]
        decay = {"weight_decay": recipe["weight_decay"], "no_weight_decay": list(self.not_decayed)}
        return optim.make(model, factory, **decay, **constants)

    def rate(self, run: str, step: int) -> float:
        """A linear warm-up, then constant."""
        return self.recipes[run]["lr"] * min(1.0, (step + 1) / self.warmup)

    def clip(self, run: str) -> float | None:
        """The recipe's."""
        return self.recipes[run]["clip"]
