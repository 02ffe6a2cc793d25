"""Losses of unlabelled images: pseudo-labels (Lee 2013) and FixMatch (Sohn et al. 2020, arXiv 2001.07685)."""

import paddle
import paddle.nn.functional as F

from ppcore.losses import log_softmax


@paddle.no_grad()
def confident(logits: paddle.Tensor, threshold: float, strict: bool = False) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The most likely class of each row, int64 [B], and whether its probability reaches a threshold, float32 [B].

    Args:
        logits: [B, K].
        threshold: τ; from 0 to 1.
        strict: whether it must be above τ, not at it.
    """
    p = F.softmax(logits.detach().astype("float32"), axis=-1)
    highest = p.max(axis=-1)
    kept = highest > threshold if strict else highest >= threshold
    return logits.argmax(axis=-1), kept.astype("float32")


def masked_cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor, kept: paddle.Tensor) -> paddle.Tensor:
    """Sum of kept rows' cross-entropies over the number of all rows, kept or not."""
    each = -paddle.take_along_axis(log_softmax(logits), labels.unsqueeze(1), axis=1).flatten()
    return (each * kept).mean()


def fixmatch_loss(weak: paddle.Tensor, strong: paddle.Tensor, threshold: float) -> tuple[paddle.Tensor, paddle.Tensor]:
    """What a strong view costs by the label of the weak one, where that is confident (eq. 4), and which are, [B].

    Args:
        weak: logits [B, K], without gradient.
        strong: logits [B, K] of the same images.
        threshold: τ, reached by ≥.
    """
    labels, kept = confident(weak, threshold)
    return masked_cross_entropy(strong, labels, kept), kept


def soft_fixmatch_loss(
    weak: paddle.Tensor, strong: paddle.Tensor, threshold: float, temperature: float = 1.0
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """`fixmatch_loss` with the weak view's probabilities at a temperature in place of its label (§2.2 of the paper, last words)."""
    _, kept = confident(weak, threshold)
    target = F.softmax(weak.detach().astype("float32") / temperature, axis=-1)
    return (-(target * log_softmax(strong)).sum(axis=-1) * kept).mean(), kept


def pseudo_label_loss(
    logits: paddle.Tensor, threshold: float = 0.0, strict: bool = False
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Cross-entropy with the network's own most likely class, where that is confident, and which are, [B]."""
    labels, kept = confident(logits, threshold, strict)
    return masked_cross_entropy(logits, labels, kept), kept


def sigmoid_cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """Lee's loss: of sigmoid outputs against a class's one-hot, summed over classes, the mean over rows."""
    target = F.one_hot(labels, logits.shape[-1])
    logits = logits.astype("float32")
    each = F.relu(logits) - logits * target + paddle.log1p(paddle.exp(-logits.abs()))
    return each.sum(axis=-1).mean()
