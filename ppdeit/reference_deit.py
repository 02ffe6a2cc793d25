"""The tiny models whose numbers are stored in `tests/fidelity_data` (deit_tiny, deit3_tiny), computed by torch and transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import losses, optim
from ppdeit.deit import DistilledVisionTransformer
from ppdeit.deit3 import PAPER, DeiT3
from ppdeit.distill import Distillation
from ppvit.reference_vit import ViTReference


class DeiTReference(ViTReference):
    """The distilled model: both heads and their mean besides, soft distillation's gradients, three distillations."""

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
        self.one_pass = facts["loss"]

    def network(self) -> DistilledVisionTransformer:
        """The model."""
        return DistilledVisionTransformer(**self.config)

    def forward(self, model: DistilledVisionTransformer, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """The logits [B, K] of both heads, and the stages of images [B, C, H, W]."""
        stages = model.forward_intermediates(x)
        heads = model.forward_heads(stages["norm"])
        return heads, stages | dict(zip(("cls_logits", "dist_logits"), heads, strict=True))

    def stages(self, model: DistilledVisionTransformer) -> dict[str, tuple[list[str], float]]:
        """The embedding, the tokens, the mean of the logits and those of either head."""
        heads = {"cls logits": (["cls_logits"], 1e-5), "dist logits": (["dist_logits"], 1e-5)}
        return super().stages(model) | heads

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The distillation of a recipe. Its teacher hands on what stands in the images' place: stored logits."""
        recipe = self.one_pass if run is None else self.recipes[run]
        options = {key: recipe[key] for key in ("mode", "alpha", "tau", "kl") if key in recipe}
        criterion = Distillation(base=losses.CrossEntropy(), teacher=lambda logits: logits, **options)
        names = {"target": "soft_targets", "image": "teacher_logits"}
        return criterion(outputs, {key: paddle.to_tensor(arrays[name][rows]) for key, name in names.items()})


class DeiT3Reference(ViTReference):
    """DeiT III: binary cross-entropy with AdamW and with LAMB."""

    optimizers = ViTReference.optimizers | {"LAMB": optim.Lamb}

    def network(self) -> DeiT3:
        """The model."""
        return DeiT3(**PAPER, **self.config)

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Binary cross-entropy with the classes of a mixed image."""
        return losses.BinaryCrossEntropy()(outputs, {"target": paddle.to_tensor(arrays["mixed_targets"][rows])})
