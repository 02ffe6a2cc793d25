"""Classification criteria, and the sum of any. A criterion is called as `criterion(outputs, batch)`.

`batch` holds `label` int [B] and, after a batch transform such as Mixup, `target` float [B, K].
Everything is computed in float32 whatever the model's precision.
"""

from collections.abc import Mapping

import paddle
import paddle.nn.functional as F

from ppcore.config.roles import Criterion
from ppcore.errors import ConfigError
from ppcore.layers import checks


def soft_cross_entropy(logits: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
    """Mean over the batch of -Σ target · log softmax(logits); `target` is used as it is given.

    (A framework's cross-entropy with soft labels may normalise them first; probabilities need none.)
    """
    return -(target * log_softmax(logits)).sum(axis=-1).mean()


def log_softmax(logits: paddle.Tensor) -> paddle.Tensor:
    """log softmax over the last axis in float32.

    Not F.log_softmax, nor F.cross_entropy: on a CPU Paddle cuts a probability at e^-64, and with it
    the loss at 64.
    """
    logits = logits.astype("float32")
    return logits - paddle.logsumexp(logits, axis=-1, keepdim=True)


def smoothed_one_hot(label: paddle.Tensor, num_classes: int, smoothing: float = 0.0) -> paddle.Tensor:
    """[B] int -> [B, K] float32: off = s/K, on = 1 - s + s/K (Szegedy et al. 2016)."""
    return F.one_hot(label, num_classes) * (1.0 - smoothing) + smoothing / num_classes


class CrossEntropy:
    """Softmax cross-entropy on labels or on a batch's soft targets.

    Args:
        label_smoothing: s in [0, 1), for integer labels. A Mixup transform smooths on its own.

    Raises:
        ConfigError: smoothing is set here and the batch already carries soft targets.
    """

    def __init__(self, *, label_smoothing: float = 0.0):
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: paddle.Tensor, batch: dict) -> paddle.Tensor:
        if "target" in batch:
            if self.label_smoothing:
                raise ConfigError(
                    "Loss.label_smoothing and a batch transform both smooth the labels: "
                    "set it in the batch transform only"
                )
            return soft_cross_entropy(outputs, batch["target"])
        if self.label_smoothing:
            target = smoothed_one_hot(batch["label"], outputs.shape[-1], self.label_smoothing)
            return soft_cross_entropy(outputs, target)
        return -paddle.take_along_axis(log_softmax(outputs), batch["label"].unsqueeze(1), axis=1).mean()


class BinaryCrossEntropy:
    """Mean binary cross-entropy over all B·K logits.

    Args:
        binarize: replace every target above 0 by 1 (DeiT III: a mixed image has both classes in full).

    Raises:
        ConfigError: the first targets are smoothed and binarised, which would make every class a positive.
    """

    def __init__(self, *, binarize: bool = True):
        self.binarize = binarize
        self._looked = False  # once, as smoothing is a setting; and every look waits for the device

    def __call__(self, outputs: paddle.Tensor, batch: dict) -> paddle.Tensor:
        target = batch.get("target")
        if target is None:
            target = F.one_hot(batch["label"], outputs.shape[-1])
        if self.binarize:
            if not self._looked and float(target.min()) > 0.0:
                raise ConfigError(
                    "BinaryCrossEntropy(binarize) got smoothed targets, all of which would become 1: "
                    "set label_smoothing of the batch transform to 0"
                )
            self._looked = True
            target = (target > 0).astype("float32")
        return F.binary_cross_entropy_with_logits(outputs.astype("float32"), target)


class Sum:
    """A weighted sum of criteria that see the same outputs and batch, such as a paper's loss and another's term beside it.

    Args:
        terms: by a name of one's own choice, so that `-o Loss.terms.colour.weight=…` changes one.
        weights: by the same names; 1 where none is given.

    Raises:
        ConfigError: no terms, or a weight that is negative or of no term.
    """

    def __init__(self, *, terms: Mapping[str, Criterion], weights: Mapping[str, float] | None = None):
        weights = dict(weights or {})
        if not terms:
            raise ConfigError("Loss.terms: a sum needs at least one criterion")
        unknown = sorted(weights.keys() - terms.keys())
        if unknown:
            raise ConfigError(f"Loss.weights.{unknown[0]}: there is no such term, only {', '.join(terms)}")
        for name, weight in weights.items():
            checks.number(self, weights=weight)
            if weight < 0:
                raise ConfigError(f"Loss.weights.{name} is {weight}, but must not be negative")
        self.terms = dict(terms)
        self.weights = {name: float(weights.get(name, 1.0)) for name in terms}

    def __call__(self, outputs, batch: dict) -> paddle.Tensor:
        return sum(self.weights[name] * term(outputs, batch) for name, term in self.terms.items())
