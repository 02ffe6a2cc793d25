"""Training with few labelled images and many unlabelled ones: pseudo-labels and FixMatch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import nn

from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppssl.image_views import crops_of
from ppssl.semi_losses import (
    fixmatch_loss,
    masked_cross_entropy,
    pseudo_label_loss,
    sigmoid_cross_entropy,
    soft_fixmatch_loss,
)
from ppssl.ssl_schedules import Ramp

LABELLED = "labelled"  # of `DataLoader.Beside`
_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)


class FixMatch:
    """A weak view's label, where it is confident, is what a strong view is to be (Sohn et al. 2020).

    `DataLoader.Train` has the unlabelled images, μ·B a step, with one `weak` and one `strong` view of each
    (`ppcore.data.Views`); `DataLoader.Beside.labelled` has B with their labels. All go through the network at once. The paper
    evaluates an average of the weights: `EMA: {decay: 0.999}`.

    The log has both losses, the share of unlabelled images that are confident (`kept`), and, where the unlabelled images have
    labels, which are not trained on, the share that is confident and right (`kept_right`).

    Args:
        run: of the training.
        threshold: τ; 0.95, on ImageNet 0.7.
        weight: λ_u; 1, on ImageNet 10.
        soft_temperature: of the weak view's probabilities in place of its label; None: its label.

    Raises:
        ConfigError: an argument out of its range, or a batch without labelled images or views.
    """

    def __init__(
        self, *, run: Any, threshold: float = 0.95, weight: float = 1.0, soft_temperature: float | None = None
    ):
        checks.number(self, threshold=threshold, weight=weight)
        if soft_temperature is not None:
            checks.positive(self, soft_temperature=soft_temperature)
        if not 0 <= threshold <= 1:
            checks.fail(self, "threshold", threshold, "from 0 to 1")
        self.run, self.threshold, self.weight, self.soft_temperature = run, threshold, weight, soft_temperature
        self.networks = self.model = run.model

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        images, labels = labelled(batch, "ppssl.FixMatch")
        (weak,), (strong,) = (crops_of(batch, [name], "ppssl.FixMatch") for name in ("weak", "strong"))
        known, weak, strong = self.run.forward(self.model, paddle.concat([images, weak, strong])).split(
            [len(images), len(weak), len(strong)]
        )
        supervised = masked_cross_entropy(known, labels, paddle.ones(labels.shape))
        weak = weak.detach()
        if self.soft_temperature is None:
            unlabelled, kept = fixmatch_loss(weak, strong, self.threshold)
        else:
            unlabelled, kept = soft_fixmatch_loss(weak, strong, self.threshold, self.soft_temperature)
        logs = monitors(supervised, unlabelled, kept, weak, batch)
        yield "model", supervised + self.weight * unlabelled, logs

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


class PseudoLabel:
    """The network's own most likely class is what an unlabelled image is to be (Lee 2013).

    `DataLoader.Train` has the unlabelled images, `DataLoader.Beside.labelled` those with labels; all go through the network at
    once, unless `apart` says otherwise. Lee: sigmoid outputs, no threshold, and a weight α(t) that is 0 up to epoch 100 and 3 from
    600 on. FixMatch's authors compare with: softmax, a threshold of 0.95 that must be passed, a weight that rises to 1 over 40 % of
    the run, and `apart`.

    The log is that of `FixMatch`.

    Args:
        run: of the training.
        weight: of the unlabelled loss, by step.
        threshold: probability from which a label counts; 0: always.
        strict: whether it must be passed, not only reached.
        sigmoid: whether outputs are K yes-or-no questions, each with a cross-entropy, and not one of K.
        apart: whether labelled and unlabelled images go through the network one after the other, so that batch norms normalise
            each by its own batch; their running statistics then are of the labelled ones.

    Raises:
        ConfigError: an argument out of its range, or a batch without labelled images.
    """

    def __init__(
        self,
        *,
        run: Any,
        weight: Ramp,
        threshold: float = 0.0,
        strict: bool = False,
        sigmoid: bool = False,
        apart: bool = False,
    ):
        checks.number(self, threshold=threshold)
        checks.flag(self, strict=strict, sigmoid=sigmoid, apart=apart)
        if not 0 <= threshold <= 1:
            checks.fail(self, "threshold", threshold, "from 0 to 1")
        if sigmoid and threshold:
            raise ConfigError("ppssl.PseudoLabel: sigmoid outputs have no threshold: leave out one of them")
        self.run, self.threshold, self.strict = run, threshold, strict
        self.sigmoid, self.apart = sigmoid, apart
        self.weight = weight.bind(run.plan)
        self.networks = self.model = run.model

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.run.optimizer(self.model)}

    def losses(self, batch: dict, step: int):
        images, labels = labelled(batch, "ppssl.PseudoLabel")
        known, unknown = self._outputs(images, batch["image"])
        if self.sigmoid:
            supervised = sigmoid_cross_entropy(known, labels)
            unlabelled = sigmoid_cross_entropy(unknown, unknown.detach().argmax(axis=-1))
            kept = paddle.ones([len(unknown)])
        else:
            supervised = masked_cross_entropy(known, labels, paddle.ones(labels.shape))
            unlabelled, kept = pseudo_label_loss(unknown, self.threshold, self.strict)
        weight = self.weight(step)
        logs = monitors(supervised, unlabelled, kept, unknown.detach(), batch) | {"unlabelled_weight": weight}
        yield "model", supervised + weight * unlabelled, logs

    def _outputs(self, labelled: paddle.Tensor, unlabelled: paddle.Tensor) -> list[paddle.Tensor]:
        """Logits of both batches."""
        if not self.apart:
            both = self.run.forward(self.model, paddle.concat([labelled, unlabelled]))
            return both.split([len(labelled), len(unlabelled)])
        known = self.run.forward(self.model, labelled)
        with fixed_statistics(self.model):
            return [known, self.run.forward(self.model, unlabelled)]

    def after_update(self, step: int) -> None:
        pass

    def evaluators(self) -> list[Any]:
        return self.run.evaluators()


def labelled(batch: Mapping[str, paddle.Tensor], owner: str) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Images [B, C, H, W] and labels [B] of `DataLoader.Beside.labelled`."""
    names = [f"{LABELLED}.{name}" for name in ("image", "label")]
    if not all(name in batch for name in names):
        raise ConfigError(
            f"{owner}: the batches have no {names[0]} and {names[1]}: name data in DataLoader.Beside.{LABELLED}"
        )
    return batch[names[0]], batch[names[1]]


@contextmanager
def fixed_statistics(network: nn.Layer) -> Iterator[None]:
    """Batch norms go on normalising by the batch, but keep nothing of it."""
    norms = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, _NORMS)]
    kept = [norm._momentum for norm in norms]
    for norm in norms:
        norm._momentum = 1.0  # Paddle's: the share of the old
    try:
        yield
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm._momentum = momentum


@paddle.no_grad()
def monitors(
    supervised: paddle.Tensor,
    unlabelled: paddle.Tensor,
    kept: paddle.Tensor,
    logits: paddle.Tensor,
    batch: Mapping[str, paddle.Tensor],
) -> dict[str, paddle.Tensor]:
    """What is logged beside a loss; `logits` [B, K] are those that pseudo-labels are read from, `kept` [B] which count."""
    found = {"labelled_loss": supervised.detach(), "unlabelled_loss": unlabelled.detach(), "kept": kept.mean()}
    if "label" in batch:
        right = (logits.argmax(axis=-1) == batch["label"]).astype("float32")
        found["kept_right"] = (kept * right).mean()
    return found
