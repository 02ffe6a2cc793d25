"""PairLIE's training loss, as its released code computes it: nothing in it knows a well exposed image."""

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.layers import checks

Parts = tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]


class PairLIELoss:
    """consistency · C + Rx + projection · P, of two exposures of a scene; only the first enters Rx and P.

    - C, reflectance consistency: the mean squared difference of the two reflectances.
    - Rx, Retinex: the weighted sum of the mean squared differences of L·R and X; of R and X / L, the division passing no
      gradient to L; of L and the largest colour of the input; and of the smoothness of L.
    - P, projection: the mean squared difference of the input and X, which keeps X near it.

    Args: weights, the defaults the paper's.
        consistency: of C.
        product: of L·R against X.
        quotient: of R against X / L.
        brightest: of L against the largest colour.
        smoothness: of the smoothness of L.
        projection: of P.

    Raises:
        ConfigError: a weight is negative, or the outputs are not those of `ppllie.ExposurePairs`.
    """

    def __init__(
        self,
        *,
        consistency: float = 1.0,
        product: float = 1.0,
        quotient: float = 1.0,
        brightest: float = 1.0,
        smoothness: float = 1.0,
        projection: float = 500.0,
    ):
        self.weights = {
            "consistency": consistency, "product": product, "quotient": quotient, "brightest": brightest,
            "smoothness": smoothness, "projection": projection,
        }  # fmt: skip
        checks.number(self, **self.weights)
        for name, value in self.weights.items():
            if value < 0:
                checks.fail(self, name, value, "a number from 0 on")

    def __call__(self, outputs: tuple, batch: dict) -> paddle.Tensor:
        """The loss, a scalar, of what `terms` takes; `batch["image"]` is the first exposure."""
        return self.total(self.terms(outputs, batch["image"]))

    def total(self, terms: dict[str, paddle.Tensor]) -> paddle.Tensor:
        """The weighted sum of `terms`."""
        return sum(weight * terms[name] for name, weight in self.weights.items())

    def terms(self, outputs: tuple, image: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Every term before its weight.

        Args:
            outputs: the first exposure's (L [B, 1, H, W], R [B, 3, H, W], X [B, 3, H, W]) and the second's R.
            image: the first exposure, [B, 3, H, W] in 0..1.
        """
        if not isinstance(outputs, tuple | list) or len(outputs) != 4:
            raise ConfigError(
                "ppllie.PairLIELoss needs the parts of two exposures: set Task: {name: ppllie.ExposurePairs} and choose "
                "ppllie.PairLIE"
            )
        illumination, reflectance, denoised, other = outputs
        return {
            "consistency": F.mse_loss(reflectance, other),
            "product": F.mse_loss(illumination * reflectance, denoised),
            "quotient": F.mse_loss(reflectance, denoised / illumination.detach()),
            "brightest": F.mse_loss(illumination, image.max(axis=1, keepdim=True)),
            "smoothness": smoothness(illumination),
            "projection": F.mse_loss(denoised, image),
        }


def smoothness(illumination: paddle.Tensor) -> paddle.Tensor:
    """Mean absolute difference of pixels two apart, down and across: [B, 1, H, W], H and W >= 3, to a scalar."""
    down = (illumination[:, :, 2:] - illumination[:, :, :-2]).abs().mean()
    across = (illumination[:, :, :, 2:] - illumination[:, :, :, :-2]).abs().mean()
    return down + across
