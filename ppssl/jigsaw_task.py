"""Jigsaw-ViT's training: classes by `Loss`, and beside it the positions of patches that are seen without them."""

from typing import Any

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppcore.losses import CrossEntropy
from ppssl.jigsaw_vit import JigsawVisionTransformer
from ppssl.masking import StepNoise, count_kept, random_mask


class JigsawViT:
    """Trains `ppssl.JigsawVisionTransformer` by `Loss` + `weight` · the cross-entropy of the positions of its patches.

    Both branches see the same images, mixed ones too, as in the official code for ImageNet. The log has both losses and the share of
    patches that are placed rightly; a guess is right one time in N.

    Args:
        run: of the training.
        weight: of the puzzle, η (ImageNet: .1); 0 trains the classes alone and still logs the puzzle.
        mask_ratio: share of the patches that is left out of the puzzle, γ (ImageNet: .5).

    Raises:
        ConfigError: an argument out of its range, no patch is kept, or the network is another.
    """

    def __init__(self, *, run: Any, weight: float = 0.1, mask_ratio: float = 0.5):
        checks.number(self, weight=weight)
        if weight < 0:
            checks.fail(self, "weight", weight, "a number from 0 on")
        checks.rate(self, mask_ratio=mask_ratio)
        self.run, self.weight, self.mask_ratio, self.noise = run, weight, mask_ratio, StepNoise(run)
        self.networks = self.model = run.model
        if not isinstance(self.model, JigsawVisionTransformer):
            raise ConfigError(
                f"ppssl.JigsawViT trains a ppssl.JigsawVisionTransformer, not {type(self.model).__name__}: change Arch or Task"
            )
        self.patches = self.model.grid[0] * self.model.grid[1]
        if count_kept(self.patches, mask_ratio) < 1:
            checks.fail(self, "mask_ratio", mask_ratio, f"such that some of the {self.patches} patches are kept")
        self.criterion = run.criterion()

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        images = batch["image"]
        keep = random_mask(self.noise.uniform(step, images.shape[0], self.patches), self.mask_ratio).keep
        logits, places = self.run.forward(self.model.classify_and_place, images, keep)
        puzzle, right = placing(places, keep)
        classes = self.criterion(logits, batch)
        logs = {"class_loss": classes.detach(), "puzzle_loss": puzzle.detach(), "placed": right}
        yield "model", classes + self.weight * puzzle, logs

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


def placing(logits, keep):
    """Cross-entropy of positions [B, K, N] against the true ones, int64 [B, K], and the share of right ones."""
    logits, places = logits.flatten(0, 1), keep.flatten()
    right = (logits.argmax(-1) == places).astype("float32").mean()
    return CrossEntropy()(logits, {"label": places}), right
