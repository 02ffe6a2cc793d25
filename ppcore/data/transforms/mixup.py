"""Mixup and CutMix on a batch, with their soft targets.

Sources: Zhang et al. 2018 (mixup); Yun et al. 2019 (CutMix); DeiT section 6 for using both. One
lambda a batch; every image's partner is the one at its place in the reversed batch.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppcore.data.ranges import check, check_share
from ppcore.errors import ConfigError, DataError

Box = tuple[int, int, int, int]  # (yl, yh, xl, xh), half open


class Mix(NamedTuple):
    """How one batch is mixed.

    Attributes:
        lam: share of an image's own target.
        box: what CutMix replaces, or None.
    """

    lam: float
    box: Box | None = None


@dataclass(eq=False, kw_only=True)
class Mixup:
    """A batch transform: mixes `image` and adds the soft `target` [B, K], float32.

    With probability `prob` one of the two is done: CutMix with probability `switch_prob` when
    both alphas are positive, otherwise the one whose alpha is. Else images stay, and the target is
    the smoothed one-hot label, so that `target` is always there.

    Args:
        num_classes: K.
        mixup_alpha: lambda ~ Beta(alpha, alpha); 0 turns mixup off.
        cutmix_alpha: likewise for CutMix.
        prob: probability of doing either.
        switch_prob: probability of CutMix when both are on.
        label_smoothing: s in the targets' off = s/K, on = 1 - s + s/K.
        correct_lam: CutMix's lambda becomes the area really kept (boxes are clipped at the border).

    Raises:
        ConfigError: an argument is out of range; when called: the batch lacks `image` or `label`.
    """

    num_classes: int
    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    prob: float = 1.0
    switch_prob: float = 0.5
    label_smoothing: float = 0.1
    correct_lam: bool = True

    def __post_init__(self):
        for name, alpha in (("mixup_alpha", self.mixup_alpha), ("cutmix_alpha", self.cutmix_alpha)):
            check(0 <= alpha <= math.inf, self, name, alpha, "within 0..inf")
        check_share(self, prob=self.prob, switch_prob=self.switch_prob, label_smoothing=self.label_smoothing)
        check(self.num_classes >= 1, self, "num_classes", self.num_classes, "positive")
        if self.mixup_alpha == self.cutmix_alpha == 0 and self.prob > 0:
            raise ConfigError("Mixup: both alphas are 0: set prob: 0 to have label smoothing only")

    def __call__(self, batch: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Returns a new batch; `batch` and its arrays are left as they are."""
        self.check(batch)
        images = batch["image"]
        mix = self.draw(*images.shape[-2:], rng)
        if mix is None:
            lam = 1.0
        else:
            lam = mix.lam
            images = mix_images(images, lam) if mix.box is None else cut_images(images, mix.box)
        target = mix_targets(batch["label"], self.num_classes, lam, self.label_smoothing)
        return {**batch, "image": images, "target": target}

    def check(self, batch: dict[str, np.ndarray]) -> None:
        """Whether a batch can be mixed.

        Raises:
            ConfigError: it lacks `image` or `label`.
            DataError: a label is out of range.
        """
        if missing := {"image", "label"} - batch.keys():
            raise ConfigError(f"Mixup: the batches have no {' and no '.join(sorted(missing))}, only {', '.join(batch)}")
        check_range(batch["label"], self.num_classes)

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Mix | None:
        """Draws how a call mixes a batch of images of such a size; None: it leaves them."""
        if rng.random() >= self.prob:
            return None
        cut = self.cutmix_alpha > 0 and (self.mixup_alpha == 0 or rng.random() < self.switch_prob)
        alpha = self.cutmix_alpha if cut else self.mixup_alpha
        lam = float(rng.beta(alpha, alpha))
        return self.draw_box(height, width, lam, rng) if cut else Mix(lam)

    def draw_box(self, height: int, width: int, lam: float, rng: np.random.Generator) -> Mix:
        """Draws CutMix's box, of `1 - lam` of the image's area before it is clipped."""
        cy, cx = int(rng.integers(height)), int(rng.integers(width))
        yl, yh, xl, xh = cutmix_box(height, width, lam, cy, cx)
        if self.correct_lam:
            lam = 1.0 - (yh - yl) * (xh - xl) / (height * width)
        return Mix(lam, (yl, yh, xl, xh))


def mix_images(images: np.ndarray, lam: float) -> np.ndarray:
    """`lam * images + (1 - lam) * images reversed along the batch`, float32 [B, C, H, W]."""
    mixed = images[::-1] * np.float32(1.0 - lam)
    mixed += images * np.float32(lam)
    return mixed


def cut_images(images: np.ndarray, box: Box) -> np.ndarray:
    """The images with a box of those reversed along the batch, float32 [B, C, H, W]."""
    yl, yh, xl, xh = box
    mixed = images.copy()
    mixed[..., yl:yh, xl:xh] = images[::-1, ..., yl:yh, xl:xh]
    return mixed


def cutmix_box(height: int, width: int, lam: float, cy: int, cx: int) -> Box:
    """The box CutMix replaces.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        lam: share of the area to keep, before clipping.
        cy: row of the box's centre.
        cx: column of the box's centre.

    Returns:
        (yl, yh, xl, xh), half open, clipped to the image.
    """
    side = math.sqrt(1.0 - lam)
    cut_h, cut_w = int(height * side), int(width * side)
    # (cut + 1) // 2 keeps boxes of odd side whole (the current timm; older ones lost a row).
    yl, yh = max(cy - cut_h // 2, 0), min(cy + (cut_h + 1) // 2, height)
    xl, xh = max(cx - cut_w // 2, 0), min(cx + (cut_w + 1) // 2, width)
    return yl, yh, xl, xh


def smooth_one_hot(labels: np.ndarray, num_classes: int, smoothing: float = 0.0) -> np.ndarray:
    """One-hot rows with `smoothing/K` off and `1 - smoothing + smoothing/K` on.

    Args:
        labels: [B] integers.
        num_classes: K.
        smoothing: share of the mass spread over all classes.

    Returns:
        float32 [B, K].

    Raises:
        DataError: a label is not within 0..K-1.
    """
    labels = np.asarray(labels)
    check_range(labels, num_classes)
    off = smoothing / num_classes
    target = np.full((len(labels), num_classes), off, np.float32)
    target[np.arange(len(labels)), labels] = 1.0 - smoothing + off
    return target


def check_range(labels: np.ndarray, num_classes: int) -> None:
    """Raises DataError when a label is not within 0..num_classes - 1."""
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise DataError(f"label {wrong} is out of range for {num_classes} classes")


def mix_targets(labels: np.ndarray, num_classes: int, lam: float = 1.0, smoothing: float = 0.0) -> np.ndarray:
    """`lam * T(labels) + (1 - lam) * T(labels reversed)` with T = `smooth_one_hot`, float32 [B, K]."""
    target = smooth_one_hot(labels, num_classes, smoothing)
    return target * np.float32(lam) + target[::-1] * np.float32(1.0 - lam)
