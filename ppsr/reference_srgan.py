"""The narrow SRGAN whose numbers are stored in `tests/fidelity_data/srgan_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore.optim import ConstantAdam
from ppsr.adversarial_task import SRGAN
from ppsr.discriminator import Discriminator
from ppsr.sr_losses import SquaredError
from ppsr.srresnet import SRResNet


class Opponents(nn.Layer):
    """A generator and a discriminator, which `ppsr.SRGAN` trains; what it needs of a run is here, too.

    Both losses of a step are of the networks as they were before it, and each moves one network alone: an optimizer of both,
    which minimises the sum, does what two do that take turns.
    """

    def __init__(self, generator: dict[str, Any], discriminator: dict[str, Any]):
        super().__init__()
        self.generator, self.discriminator = SRResNet(**generator), Discriminator(**discriminator)
        self.task = SRGAN(run=_Run(self.generator), discriminator=self.discriminator)

    def forward(self, x):
        """The task and the images [B, 3, H, W], of which its losses are."""
        return self.task, x


class _Run:
    """What the task asks of a run: the network, the criterion, and to run a network."""

    def __init__(self, model: nn.Layer):
        self.model = model

    def criterion(self) -> SquaredError:
        return SquaredError()

    def forward(self, network: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
        return network(x)


class SRGANReference(ConstantAdam):
    """Images, logits, the gradients of each network by its own loss; 40 steps in turns. What `ppcore.reproduce` asks of a reference.

    Args:
        facts: of the stored file.
    """

    layout = "paddle"
    gradients = ("gradient of every parameter of both networks and of the images", 1e-4)
    # Paddle takes the biased variance of a batch on a CPU, torch the unbiased one.
    unsettled: Mapping[str, str] = {"_variance": "running variances"}

    def build(self, **variant: Any) -> Opponents:
        """Both networks in training mode."""
        model = Opponents(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: Opponents, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes; as stages the image in evaluation and in training, and the logits of it."""
        model.eval()
        with paddle.no_grad():
            whole = model.generator(x)
            model.train()
            made = model.generator(x)
            looks = model.discriminator(made)
        return model(x), {"whole": whole, "made": made, "logits_made": looks}

    def stages(self, model: Opponents) -> dict[str, tuple[list[str], float]]:
        """Images and logits."""
        return {
            "image in evaluation": (["whole"], 5e-6),
            "image in training": (["made"], 5e-6),
            "logits of made images": (["logits_made"], 2e-5),
        }

    def label(self, run: str) -> str:
        """Optimiser and precision."""
        return "Adam of both networks in turns, in float64"

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """The generator's loss, which moves it alone, and the discriminator's, which moves that alone."""
        task, x = outputs
        target = paddle.to_tensor(arrays["target"][rows]).astype(x.dtype)
        return paddle.add_n([loss for _, loss, _ in task.losses({"image": x, "target": target}, 0)])
