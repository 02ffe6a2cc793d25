"""SimCLR's training: two views of an image are to be nearer to each other than to all other views."""

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn

from ppcore.errors import ConfigError
from ppssl.image_views import crops_of
from ppssl.ntxent import NTXent
from ppssl.simclr_head import ProjectionHead


class SimCLR:
    """Contrastive learning (Chen et al. 2020). The network of `Arch` is the encoder, which is evaluated and handed on.

    Negatives are those of all processes, with gradient. The log has the share of first views whose nearest second view is
    their own, and the spread of the features, which a collapse takes to 0.

    Args:
        run: of the training.
        features: outputs of the network of `Arch`, [B, features] (axes of length 1 may follow).
        temperature: τ.
        normalize: see `NTXent`.
        summed: see `NTXent`.
        out_dim: channels of the projection.
        num_layers: of the head.
        views: the batch's arrays with the views, [B, count, C, H, W] each, two in all.

    Raises:
        ConfigError: an argument out of its range, gradient accumulation, or views that are not there.
    """

    def __init__(
        self,
        *,
        run: Any,
        features: int,
        temperature: float = 0.1,
        normalize: bool = True,
        summed: bool = False,
        out_dim: int = 128,
        num_layers: int = 2,
        views: Sequence[str] = ("view",),
    ):
        if run.config.accumulate > 1:
            raise ConfigError("ppssl.SimCLR: an image's negatives are its micro-batch: set Optimizer.accumulate to 1")
        self.run, self.views = run, list(views)
        self.model = run.model
        self.head = ProjectionHead(features, out_dim, num_layers=num_layers)
        self.criterion = NTXent(temperature, normalize=normalize, summed=summed)
        self.networks = nn.LayerDict({"encoder": self.model, "head": self.head})

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.networks)}

    def losses(self, batch: dict, step: int):
        views = crops_of(batch, self.views, "ppssl.SimCLR")
        if len(views) != 2:
            raise ConfigError(f"ppssl.SimCLR: {', '.join(self.views)} are {len(views)} views, but must be two")
        found = self.run.forward(self._project, paddle.concat(views))
        features, projections = found
        loss, nearest = self.criterion.measured(*projections.chunk(2))
        spread = features.detach().std(axis=0).mean()
        yield "model", loss, {"contrast_accuracy": nearest, "feature_std": spread}

    def _project(self, images: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        features = self.model(images).flatten(1)
        if features.shape[1] != self.head.in_dim:
            raise ConfigError(
                f"ppssl.SimCLR: the network of Arch gives {features.shape[1]} features, Task.features is {self.head.in_dim}"
            )
        return features, self.head(features)

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()
