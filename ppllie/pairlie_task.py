"""PairLIE's training: two exposures of a scene through the same weights."""

from typing import Any

from ppcore.errors import ConfigError
from ppllie.pairlie import PairLIE
from ppllie.pairlie_loss import PairLIELoss


class ExposurePairs:
    """Trains `ppllie.PairLIE` on batches whose `image` and `target` [B, 3, H, W] are two exposures of a scene.

    The log has every term of the loss, before its weight.

    Args:
        run: of the training.

    Raises:
        ConfigError: the network or the criterion is another, or a batch has no second exposure.
    """

    def __init__(self, *, run: Any):
        self.run = run
        self.networks = self.model = run.model
        self.criterion = run.criterion()
        if not isinstance(self.model, PairLIE) or not isinstance(self.criterion, PairLIELoss):
            raise ConfigError(
                "ppllie.ExposurePairs trains Arch: {name: ppllie.PairLIE} by Loss: {name: ppllie.PairLIELoss}"
            )

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        if "target" not in batch:
            raise ConfigError(
                "ppllie.ExposurePairs: the samples have one exposure only: put ppllie.exposures.ChooseTwo, or another "
                "transform that makes a pair, first into DataLoader.Train.transforms"
            )
        parts = self.run.forward(self.model, batch["image"])
        other = self.run.forward(self.model.reflect, batch["target"])
        terms = self.criterion.terms((*parts, other), batch["image"])
        yield "model", self.criterion.total(terms), {name: term.detach() for name, term in terms.items()}

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()
