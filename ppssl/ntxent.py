"""NT-Xent, SimCLR's contrastive loss (Chen et al. 2020, arXiv 2002.05709, eq. 1)."""

import paddle

from ppcore.layers import checks
from ppcore.layers.gathered import gather_rows, process_rank
from ppcore.losses import log_softmax

_OUT = 1e9  # taken from the similarity of a view with itself


def unit_rows(x: paddle.Tensor) -> paddle.Tensor:
    """Rows of length 1, x / sqrt(max(Σx², 1e-12))."""
    return x * paddle.rsqrt(paddle.clip(x.square().sum(axis=1, keepdim=True), min=1e-12))


class NTXent:
    """Normalised, temperature-scaled cross-entropy: of all other views of the batch, which one is of the same image?

    The batch is that of all processes; each has the anchors of its own images.

    Args:
        temperature: τ.
        normalize: whether similarities are cosines; products otherwise.
        summed: whether the losses of both directions are added, as in SimCLR's code, which is twice the mean of the paper.

    Shape:
        two of [N, D], the views of the same images in the same order -> a scalar.
    """

    def __init__(self, temperature: float = 0.1, *, normalize: bool = True, summed: bool = False):
        checks.positive(self, temperature=temperature)
        checks.flag(self, normalize=normalize, summed=summed)
        self.temperature, self.normalize, self.summed = temperature, normalize, summed

    def __call__(self, first: paddle.Tensor, second: paddle.Tensor) -> paddle.Tensor:
        return self.measured(first, second)[0]

    def measured(self, first: paddle.Tensor, second: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The loss, and the share of first views whose nearest among all second views is their own."""
        per_anchor, nearest = self.per_anchor(first, second)
        loss = per_anchor.mean()
        return (2 * loss if self.summed else loss), nearest

    def per_anchor(self, first: paddle.Tensor, second: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Losses [2·N] of the anchors, first views first, and the share as in `measured`."""
        first, second = first.astype("float32"), second.astype("float32")
        if self.normalize:
            first, second = unit_rows(first), unit_rows(second)
        size, start = first.shape[0], process_rank() * first.shape[0]
        all_first, all_second = gather_rows(first), gather_rows(second)
        own = paddle.arange(start, start + size)
        itself = paddle.nn.functional.one_hot(own, all_first.shape[0]) * _OUT
        losses = []
        for anchors, others, same in ((first, all_second, all_first), (second, all_first, all_second)):
            across = paddle.matmul(anchors, others, transpose_y=True) / self.temperature
            beside = paddle.matmul(anchors, same, transpose_y=True) / self.temperature - itself
            log_p = log_softmax(paddle.concat([across, beside], axis=1))
            losses.append(-paddle.take_along_axis(log_p, own.unsqueeze(1), axis=1).flatten())
            if len(losses) == 1:
                nearest = (across.argmax(axis=1) == own).astype("float32").mean()
        return paddle.concat(losses), nearest.detach()
