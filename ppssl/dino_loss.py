"""DINO's loss, its centre, and what they are watched by."""

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks
from ppcore.losses import log_softmax


class DINOLoss(nn.Layer):
    """Cross-entropy between the teacher's sharpened, centred outputs of one crop and the student's of another (eq. 3, 4).

    Args:
        out_dim: outputs, K.
        student_temperature: τ_s.
        center_momentum: share of the centre that an update keeps; 1: it stays 0, which is training without centring.

    Raises:
        ConfigError: an argument out of its range.

    Attributes:
        center: [1, K], a buffer; 0 at first.
    """

    def __init__(self, out_dim: int, *, student_temperature: float = 0.1, center_momentum: float = 0.9):
        super().__init__()
        checks.positive(self, student_temperature=student_temperature)
        checks.number(self, center_momentum=center_momentum)
        if not 0 <= center_momentum <= 1:
            checks.fail(self, "center_momentum", center_momentum, "from 0 to 1")
        self.student_temperature, self.center_momentum = student_temperature, center_momentum
        self.register_buffer("center", paddle.zeros([1, out_dim]))

    def targets(self, teacher, temperature: float):
        """What the student is to give, [2·B, K] probabilities, without gradient, from the teacher's outputs [2·B, K]."""
        return F.softmax((teacher.detach().astype("float32") - self.center) / temperature, axis=-1)

    def forward(self, student, targets):
        """The mean over all pairs of a global crop and another crop, each the mean over the batch.

        Args:
            student: outputs [V·B, K], crop after crop, the two global ones first.
            targets: [2·B, K], of the two global crops.
        """
        log_p = log_softmax(student / self.student_temperature)
        size = targets.shape[0] // 2
        crops = log_p.reshape([-1, size, log_p.shape[-1]])
        views = targets.reshape([2, size, targets.shape[-1]])
        every = -(views * crops.sum(axis=0)).sum()  # each target beside each crop, its own among them
        own = -(views * crops[:2]).sum()
        return (every - own) / (2 * (crops.shape[0] - 1) * size)

    @paddle.no_grad()
    def update_center(self, mean) -> None:
        """Moves the centre towards the mean [1, K] of the teacher's outputs over both global crops, the batch and all processes."""
        kept = self.center_momentum
        paddle.assign(self.center * kept + mean.astype("float32") * (1 - kept), output=self.center)


@paddle.no_grad()
def entropy(probabilities):
    """Mean entropy of rows of probabilities [B, K]: ln K where an output is uniform, 0 where it is one class; both are collapses."""
    return -(probabilities * paddle.log(paddle.clip(probabilities, min=1e-30))).sum(axis=-1).mean()
