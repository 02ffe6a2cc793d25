"""SRGAN's training: the generator and a discriminator, each with an optimizer of its own, taking turns in every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import paddle.nn.functional as F
from paddle import nn

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppsr.sr_losses import adversarial


class SRGAN:
    """Trains the network of `Arch`, SRResNet, against a discriminator (Ledig et al. 2017).

    A step is two updates on one batch of images, made once and before either. The generator's is by `Loss`
    (`ppsr.ContentLoss`; `ppsr.SquaredError` is the paper's SRGAN-MSE) + `weight` · the mean of -log D of its images; the
    discriminator takes no gradient from it. The discriminator's is by the cross-entropies of real images and of made ones.
    Whose update comes second sees the first's: see `first`. Name the optimizers `generator` and `discriminator`.

    All passes are in training mode. The generator's batch norms see a batch a step; the discriminator's three: the made images
    for the generator's loss, the real ones, and the made ones again, normalised apart.

    The paper begins with a trained SRResNet: `Global.pretrained`.

    Args:
        run: of the training.
        discriminator: [B, 3, H, W] -> logits [B, 1], H and W being the training crops'.
        weight: of the adversarial loss.
        first: whose update comes first. `generator`, as in Lornatang's code and BasicSR's; `discriminator`, as in leftthomas's
            and in algorithm 1 of Goodfellow et al. 2014 with one step, k = 1, which the paper names without giving an order.

    Raises:
        ConfigError: the weight is negative, `first` is no network; or the discriminator is made for images of another size
            than the crops.
    """

    def __init__(
        self,
        *,
        run: Any,
        discriminator: nn.Layer,
        weight: float = 1e-3,
        first: Literal["generator", "discriminator"] = "generator",
    ):
        checks.number(self, weight=weight)
        if weight < 0:
            checks.fail(self, "weight", weight, "a number from 0 on")
        checks.choice(self, ("generator", "discriminator"), first=first)
        self.run, self.weight, self.first = run, weight, first
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
        turns = [self.teach_generator, self.teach_discriminator]
        for turn in turns if self.first == "generator" else reversed(turns):
            yield turn(made, batch)

    def teach_generator(self, made, batch: dict) -> tuple[str, Any, dict]:
        """The generator's loss of images [B, 3, H, W] that it made of a batch."""
        content = self.criterion(made, batch)
        with without_gradients(self.discriminator):
            looks = adversarial(self.run.forward(self.discriminator, made), real=True)
        logs = {"content": content.detach(), "adversarial": looks.detach()}
        return "generator", content + self.weight * looks, logs

    def teach_discriminator(self, made, batch: dict) -> tuple[str, Any, dict]:
        """The discriminator's loss of the same."""
        real = self.run.forward(self.discriminator, batch["target"])
        fake = self.run.forward(self.discriminator, made.detach())
        loss = adversarial(real, real=True) + adversarial(fake, real=False)
        return "discriminator", loss, {"real": F.sigmoid(real.detach()).mean(), "made": F.sigmoid(fake.detach()).mean()}

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
