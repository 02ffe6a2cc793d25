"""SRGAN's training: the generator and a discriminator, each with an optimizer of its own, taking turns in every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paddle.nn.functional as F
from paddle import nn

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppsr.sr_losses import adversarial


class SRGAN:
    """Trains the network of `Arch`, SRResNet, against a discriminator (Ledig et al. 2017).

    A step is two updates. First the generator's, by `Loss` (`ppsr.ContentLoss`; `ppsr.SquaredError` is the paper's
    SRGAN-MSE) + `weight` · the mean of -log D of its images; the discriminator takes no gradient from it, though its batch
    norms do see these images. Then the discriminator's, by the cross-entropies of real images and of the images that the
    generator made before its update, in this order. Name the optimizers `generator` and `discriminator`.

    The paper begins with a trained SRResNet: `Global.pretrained`.

    Args:
        run: of the training.
        discriminator: [B, 3, H, W] -> logits [B, 1], H and W being the training crops'.
        weight: of the adversarial loss.

    Raises:
        ConfigError: the weight is negative; or the discriminator is made for images of another size than the crops.
    """

    def __init__(self, *, run: Any, discriminator: nn.Layer, weight: float = 1e-3):
        checks.number(self, weight=weight)
        if weight < 0:
            checks.fail(self, "weight", weight, "a number from 0 on")
        self.run, self.weight = run, weight
        self.model, self.discriminator = run.model, discriminator
        self.networks = nn.LayerDict({"generator": self.model, "discriminator": discriminator})
        self.criterion = run.criterion()

    def optimizers(self) -> dict[str, Any]:
        return {
            "generator": self.run.optimizer(self.model, "generator"),
            "discriminator": self.run.optimizer(self.discriminator, "discriminator"),
        }

    def losses(self, batch: dict, step: int) -> Iterator[tuple[str, Any, dict]]:
        made, target = self.run.forward(self.model, batch["image"]), batch["target"]
        if made.shape != target.shape:
            raise ConfigError(
                f"ppsr.SRGAN: the generator makes {list(made.shape)} of crops whose targets are {list(target.shape)}: "
                "choose Arch.scale and the crops of DataLoader.Train.transforms to fit"
            )
        content = self.criterion(made, batch)
        with without_gradients(self.discriminator):
            looks = adversarial(self.run.forward(self.discriminator, made), real=True)
        yield "generator", content + self.weight * looks, {"content": content.detach(), "adversarial": looks.detach()}
        real = self.run.forward(self.discriminator, target)
        fake = self.run.forward(self.discriminator, made.detach())
        loss = adversarial(real, real=True) + adversarial(fake, real=False)
        yield "discriminator", loss, {"real": F.sigmoid(real.detach()).mean(), "made": F.sigmoid(fake.detach()).mean()}

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


@contextmanager
def without_gradients(network: nn.Layer) -> Iterator[None]:
    """What a network computes inside passes gradients to its inputs, and none to its parameters."""
    trained = [p for p in network.parameters() if not p.stop_gradient]
    for parameter in trained:
        parameter.stop_gradient = True
    try:
        yield
    finally:
        for parameter in trained:
            parameter.stop_gradient = False
