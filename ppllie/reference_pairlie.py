"""The narrow PairLIE whose numbers are stored in `tests/fidelity_data/pairlie_tiny`, computed by torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppcore.optim import ConstantAdam
from ppllie.pairlie import PairLIE
from ppllie.pairlie_loss import PairLIELoss


class TwoExposures(PairLIE):
    """A PairLIE whose batches [2 B, 3, H, W] are B first exposures, then the second ones of the same scenes.

    It gives what `ppllie.PairLIELoss` takes, the way `ppllie.ExposurePairs` does.
    """

    def forward(self, images):
        first, second = images.chunk(2)
        return *super().forward(first), self.reflect(second)


class PairLIEReference(ConstantAdam):
    """Parts, the image, every term of the loss, every gradient; 40 steps of Adam. What `ppcore.reproduce` asks for.

    Args:
        facts: of the stored file.
    """

    layout = "pairlie"
    gradients = ("gradient of every parameter and of both exposures", 2e-5)

    def __init__(self, facts: Mapping[str, Any]):
        super().__init__(facts)
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
