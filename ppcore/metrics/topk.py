"""Accuracy of a classifier."""

from collections.abc import Sequence

import numpy as np

from ppcore.errors import ConfigError
from ppcore.metrics.spec import accuracy


class TopK:
    """Top-k accuracy and mean cross-entropy over every image seen, whatever the batch size.

    A class of equal score ranks behind one of smaller index, and a row with a logit that is not
    a number counts as wrong for every k.

    Args:
        topk: the k to report, as `top1`, `top5`, …

    Attributes:
        specs: of the accuracies; the mean cross-entropy is recorded beside them as `loss`.
    """

    primary_metric = "top1"

    def __init__(self, *, topk: Sequence[int] = (1, 5)):
        if not topk or min(topk) < 1:
            raise ConfigError(f"Metric.topk must list positive numbers, got {list(topk)}")
        self.topk = sorted(topk)
        self.specs = [accuracy(f"top{k}", f"Top-{k}", f"top-{k} accuracy") for k in self.topk]
        self.sums = np.zeros(2 + len(self.topk))  # images, loss, correct at each k

    def update(self, outputs, batch: dict) -> None:
        """Adds a batch: `outputs` [B, K] logits (Tensor or array), `batch["label"]` [B]."""
        logits = np.asarray(outputs.astype("float32"), dtype=np.float64)
        labels = np.asarray(batch["label"])
        finite = np.isfinite(logits).all(axis=1)
        order = np.argsort(-logits, axis=1, kind="stable")
        hit = (order == labels[:, None]) & finite[:, None]  # [B, K], at most one True a row
        peak = logits.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # a row that is not finite has no loss: NaN, without a warning
            log_sum = np.log(np.exp(logits - peak).sum(axis=1)) + peak[:, 0]
        loss = log_sum - logits[np.arange(len(labels)), labels]
        self.sums += [len(labels), loss.sum(), *(hit[:, :k].any(axis=1).sum() for k in self.topk)]

    def compute(self) -> dict[str, float]:
        """`n` images, mean `loss`, and accuracies in 0..1."""
        n = int(self.sums[0])
        if n == 0:
            raise ConfigError("nothing was evaluated: the evaluation set has no readable image")
        correct = {f"top{k}": float(c) / n for k, c in zip(self.topk, self.sums[2:], strict=True)}
        return {"n": n, "loss": float(self.sums[1]) / n, **correct}

    def describe(self) -> None:
        """No conventions to name beside the arguments."""
