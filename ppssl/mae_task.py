"""MAE's training: patches are removed at random, and their pixels predicted."""

from typing import Any

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppssl.mae import MaskedAutoencoder
from ppssl.masking import StepNoise, count_kept, random_mask


class MAE:
    """Trains `ppssl.MaskedAutoencoder` on images alone; there is no `Loss`, the network knows what it predicts.

    Masks are of the step and of an image's place in the batch: the same after a restart and on any number of processes.

    Args:
        run: of the training.
        mask_ratio: share of the patches that is removed (paper: .75).

    Raises:
        ConfigError: the network is another, the ratio is out of [0, 1), or it removes all patches, or none.
    """

    def __init__(self, *, run: Any, mask_ratio: float = 0.75):
        self.run, self.mask_ratio, self.noise = run, mask_ratio, StepNoise(run)
        self.networks = self.model = run.model
        check_mask(self, self.model, mask_ratio)

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        images = batch["image"]
        patches = self.model.grid[0] * self.model.grid[1]
        mask = random_mask(self.noise.uniform(step, images.shape[0], patches), self.mask_ratio)
        predicted = self.run.forward(self.model.reconstruct, images, mask.keep, mask.restore)
        yield "model", self.model.loss(predicted, images, mask.removed), {}

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


def check_mask(task: Any, model: Any, ratio: float) -> None:
    """Raises ConfigError for a network that is no masked autoencoder, or a ratio that leaves nothing to see or to predict."""
    name = f"ppssl.{type(task).__name__}"
    if not isinstance(model, MaskedAutoencoder):
        raise ConfigError(f"{name} trains a ppssl.MaskedAutoencoder, not {type(model).__name__}: change Arch or Task")
    checks.rate(task, mask_ratio=ratio)
    patches = model.grid[0] * model.grid[1]
    if not 0 < count_kept(patches, ratio) < patches:
        checks.fail(task, "mask_ratio", ratio, f"such that some of the {patches} patches are kept and some removed")
