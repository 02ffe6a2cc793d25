"""The narrow PairLIE whose numbers are stored in `tests/fidelity_data/pairlie_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore import optim
from ppllie.pairlie import PairLIE
from ppllie.pairlie_loss import PairLIELoss


class TwoExposures(PairLIE):
    """A PairLIE whose batches [2 B, 3, H, W] are B first exposures, then the second ones of the same scenes.

    It gives what `ppllie.PairLIELoss` takes, the way `ppllie.ExposurePairs` does.
    """

    def forward(self, images):
        first, second = images.chunk(2)
        return *super().forward(first), self.reflect(second)


class PairLIEReference:
    """Parts, the image, every term of the loss, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks for.

    Args:
        facts: of the stored file.
    """

    layout = "pairlie"
    variants: Mapping[str, Mapping[str, Any]] = {"": {}}
    precision = "float64"
    gradients = ("gradient of every parameter and of both exposures", 2e-5)
    zero_gradients: Mapping[str, tuple[int, int]] = {}
    unsettled: Mapping[str, str] = {}
    norm_tolerance = 1e-5
    trainings = ("run",)

    def __init__(self, facts: Mapping[str, Any]):
        self.config, self.recipe = facts["config"], facts["training"]
        self.steps = self.recipe["steps"]
        self.criterion = PairLIELoss()

    def build(self, **variant: Any) -> TwoExposures:
        """The model in training mode."""
        model = TwoExposures(**self.config, **variant)
        model.train()
        return model

    def forward(self, model: TwoExposures, x: paddle.Tensor) -> tuple[Any, dict[str, paddle.Tensor]]:
        """What the loss takes, and as stages the parts and the image of all of x, and the terms of the loss."""
        outputs = model(x)
        parts = dict(zip("LRX", model.decompose(x), strict=True))
        terms = self.criterion.terms(outputs, x.detach().chunk(2)[0])
        return outputs, parts | {"y": model.tail(x, x)} | terms

    def stages(self, model: TwoExposures) -> dict[str, tuple[list[str], float]]:
        """Parts, the image, and the terms, each before its weight."""
        terms = ["consistency", "product", "quotient", "brightest", "smoothness", "projection"]
        return {
            "illumination, reflectance, denoised image": (["L", "R", "X"], 5e-6),
            "enhanced image": (["y"], 5e-6),
            "every term of the loss": (terms, 1e-5),
        }

    def loss(
        self, outputs: Any, arrays: Mapping[str, np.ndarray], rows: Sequence[int], run: str | None
    ) -> paddle.Tensor:
        """Consistency, Retinex and projection, with the released code's weights."""
        first = paddle.to_tensor(arrays["x"][rows]).chunk(2)[0]
        return self.criterion(outputs, {"image": first.astype(outputs[0].dtype)})

    def label(self, run: str) -> str:
        """Optimiser and precision."""
        return "Adam in float64"

    def optimizer(self, model: TwoExposures, run: str) -> paddle.optimizer.Optimizer:
        """Adam, without weight decay."""
        (beta1, beta2), epsilon = self.recipe["betas"], self.recipe["eps"]
        decay = {"weight_decay": 0.0, "no_weight_decay": []}
        return optim.make(model, optim.Adam, **decay, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def rate(self, run: str, step: int) -> float:
        """Constant."""
        return self.recipe["lr"]

    def clip(self, run: str) -> float | None:
        """Gradients are not clipped."""
        return None
