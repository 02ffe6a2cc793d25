"""How often patches without positions are put where they were, on images that were not trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppcore.metrics.features import eval_images
from ppcore.metrics.spec import MetricSpec, accuracy
from ppssl.jigsaw_vit import JigsawVisionTransformer
from ppssl.masking import mask_of_images, take


class PositionAccuracy:
    """Share of the patches over `DataLoader.Eval` whose position Jigsaw-ViT's second head says, as `placed`: an evaluator.

    Chance is one in so many patches as an image has. An image keeps the same patches in every evaluation.

    Args:
        mask_ratio: share of the patches that is removed.
        seed: of which.

    Raises:
        ConfigError: the ratio is out of [0, 1); when called: the network is another, or there are no images.
    """

    def __init__(self, *, mask_ratio: float = 0.0, seed: int = 0):
        checks.rate(self, mask_ratio=mask_ratio)
        checks.whole(self, 0, seed=seed)
        self.mask_ratio, self.seed = mask_ratio, seed
        self.specs = [accuracy("placed", "Placed", "patches whose position is found")]

    def evaluate(self, model: Any, run: Any) -> Iterator[tuple[MetricSpec, float]]:
        """Yields the share over the kept patches of all images."""
        if not isinstance(model, JigsawVisionTransformer):
            raise ConfigError(f"PositionAccuracy measures a ppssl.JigsawVisionTransformer, not {type(model).__name__}")
        sums = np.zeros(3)
        for batch in run.batches(run.config.DataLoader.Eval, eval_images(run, "PositionAccuracy")):
            mask = mask_of_images(batch["index"], model.grid[0] * model.grid[1], self.mask_ratio, self.seed)
            logits = run.forward(
                lambda x, keep=mask.keep: model.place(take(model.patch_embed(x), keep)), batch["image"]
            )
            right = (logits.argmax(-1) == mask.keep).numpy()
            sums += right.sum(), right.size, len(right)
        right, patches, images = run.world.sum(sums)
        if not images:
            raise ConfigError("PositionAccuracy: no image could be read")
        run.facts["n"] = int(images)
        yield self.specs[0], float(right / patches)
