"""The tiny Jigsaw-ViT whose numbers are stored in `tests/fidelity_data/jigsaw_vit_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.losses import CrossEntropy
from ppssl.jigsaw_task import placing
from ppssl.jigsaw_vit import JigsawVisionTransformer
from ppssl.scheduled_adamw import ScheduledAdamW


class _WithImages(JigsawVisionTransformer):
    """Called, it hands on itself and the images: which patches are kept is known where their rows are, in the loss."""

    def forward(self, x):
        return self, x


class JigsawReference(ScheduledAdamW):
    """Logits of classes and of positions, both losses together, every gradient; 24 steps of AdamW.

    It is what `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file; `options` has the puzzle's `weight`.
    """

    layout = "jigsaw"
    no_weight_decay = ("1d", "pos_embed", "cls_token")

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
        self.weight = facts["options"]["weight"]

    def build(self) -> JigsawVisionTransformer:
        """The model, in evaluation mode."""
        model = _WithImages(**self.config)
        model.eval()
        return model

    def forward(self, model: JigsawVisionTransformer, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes; the logits of both heads as stages."""
        logits, places = model.classify_and_place(x, self.mask(range(len(x))).keep)
        return model(x), {"logits": logits, "places": places}

    def stages(self, model: JigsawVisionTransformer) -> dict[str, tuple[list[str], float]]:
        """Both heads."""
        return {
            "logits of the classes": (["logits"], 1e-5),
            "logits of the positions of the kept patches": (["places"], 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Cross-entropy with soft targets, and `weight` times that of the positions; in float32 as in every training."""
        (model, x), keep = outputs, self.mask(rows).keep
        logits, places = model.classify_and_place(x, keep)
        classes = CrossEntropy()(logits, {"target": paddle.to_tensor(arrays["target"][rows])})
        return classes + self.weight * placing(places, keep)[0]
