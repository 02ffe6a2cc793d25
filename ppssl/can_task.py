"""CAN's training: two views of an image, each masked and noisy, are contrasted, filled in and cleaned."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import checks, patchify
from ppssl.can import ContrastiveMaskedAutoencoder
from ppssl.image_views import crops_of
from ppssl.mae import patch_error
from ppssl.mae_task import check_mask
from ppssl.masking import StepNoise, random_mask
from ppssl.ntxent import NTXent

log = logging.getLogger("ppcore.can")
PARTS = ("contrast", "reconstruction", "noise")  # in the order of the weights


class CAN:
    """Trains `ppssl.ContrastiveMaskedAutoencoder` on pairs of views, without labels.

    Each view gets noise σ·e, e ~ N(0, 1) a pixel and σ ~ U(0, `sigma_max`) an image, and loses `mask_ratio` of its patches. The loss is
    the weighted sum of the contrast of the two views' projections over all images and processes, the squared error of the removed
    patches against the clean view, and of the visible ones' prediction against the noise.

    The released code differs from the paper; it is had by `noisy_target: true`, `Arch.class_token: true`, `sigma_max: 0.1`,
    `mask_ratio: 0.75`, weights `[0.03, 0.679, 0.291]`, and its contrast is of each process alone.

    The log has the three losses, and `spread`, the deviation of a projection's entries over the batch, 1 for directions that are spread
    evenly and 0 when all collapse to one.

    Args:
        run: of the training.
        mask_ratio: share of the patches that is removed of each view.
        sigma_max: largest noise level, in normalised pixels.
        temperature: of the contrast.
        weights: of the contrast, the reconstruction and the noise.
        noisy_target: reconstruct the noisy view.
        views: the batch's arrays with the views, [B, count, C, H, W] each, two in all (`ppcore.data.Views`).

    Raises:
        ConfigError: an argument out of its range, another network, gradient accumulation, or views that are not there.
    """

    def __init__(
        self,
        *,
        run: Any,
        mask_ratio: float = 0.5,
        sigma_max: float = 0.05,
        temperature: float = 0.1,
        weights: Sequence[float] = (0.03, 0.67, 0.30),
        noisy_target: bool = False,
        views: Sequence[str] = ("view",),
    ):
        if run.config.accumulate > 1:
            raise ConfigError("ppssl.CAN: an image's negatives are its micro-batch: set Optimizer.accumulate to 1")
        checks.positive(self, sigma_max=sigma_max, temperature=temperature)
        checks.flag(self, noisy_target=noisy_target)
        if len(weights) != 3 or min(weights) < 0 or not any(weights):
            checks.fail(self, "weights", weights, "three numbers from 0 on, not all of them 0")
        for name in (name for name, weight in zip(PARTS, weights, strict=True) if not weight):
            log.info("ppssl.CAN: the loss '%s' has weight 0: it is logged, but nothing learns from it", name)
        self.run, self.mask_ratio, self.sigma_max, self.contrast = run, mask_ratio, sigma_max, NTXent(temperature)
        self.weights, self.noisy_target, self.views = tuple(weights), noisy_target, list(views)
        self.networks = self.model = run.model
        check_mask(self, self.model, mask_ratio)
        if not isinstance(self.model, ContrastiveMaskedAutoencoder):
            raise ConfigError("ppssl.CAN trains a ppssl.ContrastiveMaskedAutoencoder: change Arch or Task")
        self.noise = StepNoise(run)

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        views = crops_of(batch, self.views, "ppssl.CAN")
        if len(views) != 2:
            raise ConfigError(f"ppssl.CAN: two views of each image are wanted, not the {len(views)} of {self.views}")
        clean = paddle.concat(views)  # [2B, C, H, W], first all the first views
        count, patches = len(clean) // 2, self.model.grid[0] * self.model.grid[1]
        masks, levels = self.noise.uniform(step, count, 2, patches), self.noise.uniform(step, count, 2)
        mask = random_mask(masks.swapaxes(0, 1).reshape(2 * count, patches), self.mask_ratio)
        sigma = paddle.to_tensor((self.sigma_max * levels.T.ravel()).astype("float32"))
        noise = sigma.reshape([-1, 1, 1, 1]) * paddle.randn(clean.shape)
        terms = self.terms(clean, noise, sigma, mask)
        yield "model", self.total(terms), {name: value.detach() for name, value in terms.items()}

    def total(self, terms: Mapping[str, paddle.Tensor]) -> paddle.Tensor:
        """The weighted sum of the three losses of `terms`."""
        return sum(weight * terms[name] for weight, name in zip(self.weights, PARTS, strict=True))

    def terms(self, clean, noise, sigma, mask) -> Mapping[str, paddle.Tensor]:
        """The three losses before their weights, and `spread`.

        Args:
            clean: [2B, C, H, W], the first views of all images, then the second.
            noise: [2B, C, H, W], what is added to them.
            sigma: [2B], its levels.
            mask: of the 2B views.
        """
        noisy = clean + noise
        predicted, projected = self.run.forward(
            self.model.contrast_and_reconstruct, noisy, sigma, mask.keep, mask.restore
        )
        first, second = paddle.split(projected, 2)
        added = patchify(noise, self.model.patch_size)  # as it is, also under `norm_pix_loss`
        directions = F.normalize(projected.detach(), axis=1)
        return {
            "contrast": self.contrast(first, second),
            "reconstruction": self.model.loss(predicted, noisy if self.noisy_target else clean, mask.removed),
            "noise": patch_error(predicted, added, 1 - mask.removed),
            "spread": directions.std(0).mean() * directions.shape[1] ** 0.5,
        }

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()
