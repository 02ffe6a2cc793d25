"""Distillation (DeiT section 4): criteria that add a teacher's opinion to any base criterion.

Everything is computed in float32 whatever the model's precision.
"""

from typing import Any, Literal

import paddle

from ppcore.config.roles import Criterion
from ppcore.errors import ConfigError
from ppcore.losses import log_softmax, smoothed_one_hot, soft_cross_entropy
from ppdeit.teacher import Teacher


def soft_distillation(
    student: paddle.Tensor, teacher: paddle.Tensor, tau: float = 1.0, kl: Literal["batchmean", "numel"] = "batchmean"
) -> paddle.Tensor:
    """τ² · KL(softmax(teacher / τ) ‖ softmax(student / τ)) (section 4, eq. 2).

    Args:
        student: logits [B, K].
        teacher: logits [B, K]; no gradient reaches them.
        tau: temperature.
        kl: what the sum over batch and classes is divided by. `batchmean`: B, the divergence as it
            is defined, and timm's. `numel`: B · K, the official DeiT code's, 1000 times weaker on
            ImageNet: with its alpha and tau the soft term all but vanishes.
    """
    if kl not in ("batchmean", "numel"):
        raise ConfigError(f"kl must be 'batchmean' or 'numel', not {kl!r}")
    target = log_softmax(teacher.detach() / tau)
    divergence = (target.exp() * (target - log_softmax(student / tau))).sum()
    return divergence * (tau * tau / (student.size if kl == "numel" else student.shape[0]))


def hard_distillation(student: paddle.Tensor, teacher: paddle.Tensor, smoothing: float = 0.0) -> paddle.Tensor:
    """Cross-entropy of the student [B, K] on the teacher's decisions, argmax of [B, K] (section 4, eq. 3).

    With `smoothing` s the decision counts 1 - s + s/K and every other class s/K (section 4: hard
    labels can be smoothed).
    """
    decision = smoothed_one_hot(teacher.detach().argmax(axis=-1), teacher.shape[-1], smoothing)
    return soft_cross_entropy(student, decision)


class Distillation:
    """(1 - alpha) · base(class logits) + alpha · distillation(other logits).

    Args:
        base: criterion on the labels or the mixed targets, such as `ppcore.losses.CrossEntropy`.
        teacher: the network whose opinion counts; it sees the images the student sees.
        mode: `soft` (its probabilities) or `hard` (its decision; the paper's choice).
        alpha: weight of the teacher's term. The paper: 0.5 for hard, 0.1 with tau 3 for soft.
        tau: temperature of soft distillation.
        kl: see `soft_distillation`.
        teacher_smoothing: label smoothing of the teacher's decision in hard distillation.
        through: `token`: the distilled model's second head learns from the teacher; needs the pair of
            outputs such a model has in training mode. `class`: both terms on the only output (the
            rows of Table 3 without a distillation token).
        run: the training (`ppcore.engine.task.Run`), for its AMP and the normalisation of its images; None: neither.

    Raises:
        ConfigError: an argument out of its range; in a call, outputs other than `through` says, or a teacher
            of other classes.
    """

    def __init__(
        self,
        *,
        base: Criterion,
        teacher: Teacher,
        mode: Literal["soft", "hard"] = "hard",
        alpha: float = 0.5,
        tau: float = 1.0,
        kl: Literal["batchmean", "numel"] = "batchmean",
        teacher_smoothing: float = 0.0,
        through: Literal["token", "class"] = "token",
        run: Any = None,
    ):
        if not 0.0 <= alpha <= 1.0 or not tau > 0.0 or not 0.0 <= teacher_smoothing < 1.0:
            raise ConfigError(
                f"alpha {alpha} must be in [0, 1], tau {tau} above 0, teacher_smoothing {teacher_smoothing} in [0, 1)"
            )
        if mode not in ("soft", "hard") or kl not in ("batchmean", "numel") or through not in ("token", "class"):
            raise ConfigError(
                f"mode {mode!r} (soft, hard), kl {kl!r} (batchmean, numel) or through {through!r} (token, class)"
            )
        if mode == "soft" and teacher_smoothing:
            raise ConfigError("teacher_smoothing is for mode=hard: soft distillation has no labels to smooth")
        self.base, self.teacher, self.mode, self.alpha, self.tau = base, teacher, mode, alpha, tau
        self.kl, self.teacher_smoothing, self.through = kl, teacher_smoothing, through
        if run is not None:
            teacher.bind(run.forward, *run.normalization)

    def __call__(self, outputs: paddle.Tensor | tuple, batch: dict) -> paddle.Tensor:
        class_logits, other = pair(outputs, "Loss.through=token") if self.through == "token" else (outputs, outputs)
        if isinstance(class_logits, (tuple, list)):
            raise ConfigError("Loss.through=class, but the model returns two outputs: set through: token")
        opinion = self.teacher(batch["image"])
        if opinion.shape != other.shape:
            raise ConfigError(
                f"the teacher's logits are {opinion.shape}, the student's {other.shape}: "
                "Loss.teacher.arch needs the same num_classes"
            )
        if self.mode == "soft":
            distilled = soft_distillation(other, opinion, self.tau, self.kl)
        else:
            distilled = hard_distillation(other, opinion, self.teacher_smoothing)
        return (1.0 - self.alpha) * self.base(class_logits, batch) + self.alpha * distilled


class BothHeads:
    """The base criterion on both heads of a distilled model, averaged: two class tokens, no teacher.

    The paper's control (section 4): trained on the same labels the two tokens become the same
    (cosine 0.999), so the distillation token owes its difference to the teacher.

    Args:
        base: criterion on the labels or the mixed targets.

    Raises:
        ConfigError: the model does not return two outputs.
    """

    def __init__(self, *, base: Criterion):
        self.base = base

    def __call__(self, outputs: tuple, batch: dict) -> paddle.Tensor:
        first, second = pair(outputs, "ppdeit.BothHeads")
        return (self.base(first, batch) + self.base(second, batch)) / 2


def pair(outputs: paddle.Tensor | tuple, who: str) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The two outputs of a distilled model in training mode.

    Raises:
        ConfigError: there are not two.
    """
    if isinstance(outputs, (tuple, list)) and len(outputs) == 2:
        return tuple(outputs)
    raise ConfigError(
        f"{who} needs the two outputs of a distilled model in training mode: "
        "choose a ppdeit.*_distilled_* model and leave Global.eval_mode_training false"
    )
