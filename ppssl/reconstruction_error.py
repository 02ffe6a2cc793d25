"""How well a masked autoencoder predicts what it does not see, on images it was not trained with."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppcore.metrics.features import eval_images
from ppcore.metrics.spec import MetricSpec
from ppssl.mae import MaskedAutoencoder
from ppssl.masking import mask_of_images


class ReconstructionError:
    """The loss of MAE over `DataLoader.Eval`, as `reconstruction`: an evaluator.

    An image has the same mask in every evaluation, whatever the batch size and the number of processes. Networks with
    `norm_pix_loss` and without are judged in units of their own.

    Args:
        mask_ratio: share of the patches that is removed.
        seed: of the masks.

    Raises:
        ConfigError: the ratio is out of [0, 1); when called: the network is another, or there are no images.
    """

    def __init__(self, *, mask_ratio: float = 0.75, seed: int = 0):
        checks.rate(self, mask_ratio=mask_ratio)
        checks.whole(self, 0, seed=seed)
        self.mask_ratio, self.seed = mask_ratio, seed
        title = "mean squared error of removed patches"
        self.specs = [MetricSpec("reconstruction", "MSE", title, higher_is_better=False)]

    def evaluate(self, model: Any, run: Any) -> Iterator[tuple[MetricSpec, float]]:
        """Yields the mean over the images."""
        if not isinstance(model, MaskedAutoencoder):
            raise ConfigError(f"ReconstructionError measures a ppssl.MaskedAutoencoder, not {type(model).__name__}")
        images = eval_images(run, "ReconstructionError")
        sums = np.zeros(2)
        for batch in run.batches(run.config.DataLoader.Eval, images):
            sums += self.of_batch(model, run, batch), len(batch["index"])
        total, count = run.world.sum(sums)
        if not count:
            raise ConfigError("ReconstructionError: no image could be read")
        run.facts["n"] = int(count)
        yield self.specs[0], float(total / count)

    def of_batch(self, model: MaskedAutoencoder, run: Any, batch: dict[str, np.ndarray]) -> float:
        """Sum over a batch of the errors of its images."""
        patches = model.grid[0] * model.grid[1]
        mask = mask_of_images(batch["index"], patches, self.mask_ratio, self.seed)
        predicted = run.forward(lambda images: model.reconstruct(images, mask.keep, mask.restore), batch["image"])
        return float(model.loss(predicted, paddle.to_tensor(batch["image"]), mask.removed)) * len(batch["index"])
