"""A linear classifier on frozen features: what a network has learned, as an evaluator."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import paddle
from paddle import nn

from ppcore import optim
from ppcore.data import Dataset
from ppcore.data.datasets.few_labelled import few_of_each
from ppcore.errors import ConfigError
from ppcore.layers import checks
from ppcore.losses import CrossEntropy
from ppcore.metrics.features import eval_images, features_of
from ppcore.metrics.spec import MetricSpec, accuracy
from ppssl.dino_vit import DINOVisionTransformer, linear_features
from ppssl.probe_head import ProbeHead

_OPTIMIZERS = {"lars": {}, "momentum": {"nesterov": False}, "nesterov": {"nesterov": True}}


class LinearProbe:
    """Accuracy of a linear classifier that is trained on a network's outputs, `linear`.

    Features are taken once, of images prepared as those of `DataLoader.Eval`: the published probes augment them (crop and
    flip) in each epoch, at the price of a forward pass each. Of several rates the best is reported, as the papers do, with
    the rate as `linear_lr`.

    With `per_class` the classifier learns from so many images of each class alone, and the accuracy, `linear4` for 4, is the
    mean over several draws of them: what the features are worth where labels are few.

    MAE: `lars`, with a norm before the classifier, base rate 0.1, 10 of 90 epochs of warm-up. DINO: `momentum`, without a norm.
    SimCLR: `nesterov`, 0.1, without a norm.

    Args:
        train: the images to train on, with labels.
        epochs: over them.
        batch_size: of a step.
        base_lrs: rates of 256 images.
        optimizer: with momentum 0.9 and no decay.
        norm: whether a batch norm without scale and shift comes first.
        warmup_epochs: of a warm-up from 0; half a cosine to 0 follows.
        seed: of weights and order.
        last_blocks: of a `DINOVisionTransformer`: the class tokens of so many last blocks are the features (DINO: 4 for ViT-S, 1
            for ViT-B); None: the network's outputs.
        per_class: labelled images of each class; None: all.
        draws: how many times they are drawn; with seeds from `seed` on.
        patch_mean: with one block, the mean of its patch tokens beside the class token (DINO, ViT-B).

    Raises:
        ConfigError: an argument out of its range, fewer images than a batch, or a network without such blocks.
    """

    def __init__(
        self,
        *,
        train: Dataset,
        epochs: int = 90,
        batch_size: int = 256,
        base_lrs: Sequence[float] = (0.1,),
        optimizer: Literal["lars", "momentum", "nesterov"] = "lars",
        norm: bool = True,
        warmup_epochs: int = 0,
        seed: int = 0,
        per_class: int | None = None,
        draws: int = 10,
        last_blocks: int | None = None,
        patch_mean: bool = False,
    ):
        checks.whole(self, 1, epochs=epochs, batch_size=batch_size)
        checks.whole(self, 0, warmup_epochs=warmup_epochs, seed=seed)
        checks.choice(self, tuple(_OPTIMIZERS), optimizer=optimizer)
        checks.whole(self, 1, draws=draws)
        checks.whole(self, 1, optional=True, last_blocks=last_blocks, per_class=per_class)
        checks.flag(self, norm=norm, patch_mean=patch_mean)
        if patch_mean and last_blocks != 1:
            checks.fail(self, "patch_mean", patch_mean, "false, or last_blocks be 1")
        if not base_lrs or any(not rate > 0 for rate in base_lrs):
            checks.fail(self, "base_lrs", list(base_lrs), "one or more numbers above 0")
        self.train, self.epochs, self.batch_size, self.base_lrs = train, epochs, batch_size, list(base_lrs)
        self.optimizer, self.norm, self.warmup_epochs, self.seed = optimizer, norm, warmup_epochs, seed
        self.last_blocks, self.patch_mean, self.per_class = last_blocks, patch_mean, per_class
        self.draws = draws if per_class else 1
        key, few, long = "linear", "", ""
        if per_class:
            key, few, long = f"linear{per_class}", f", {per_class} a class", f" on {per_class} labelled images a class"
        self.specs = [accuracy(key, f"Linear{few}", f"accuracy of a linear probe{long}")]

    def evaluate(self, model: nn.Layer, run: Any) -> Iterator[tuple[MetricSpec, float]]:
        """Yields the best accuracy over the rates."""
        network = self.read(model)
        features, labels = features_of(network, run, self.train)
        test, wanted = features_of(network, run, eval_images(run, "LinearProbe"))
        classes = int(max(labels.max(), wanted.max())) + 1
        chosen = [self.learned_from(labels, classes, draw) for draw in range(self.draws)]
        found = {}
        for base_lr in self.base_lrs:
            each = []
            for draw, rows in enumerate(chosen):
                head = self.trained(
                    features[rows], labels[rows], classes, base_lr * self.batch_size / 256, self.seed + draw
                )
                with paddle.no_grad():
                    predicted = head(paddle.to_tensor(test)).argmax(axis=-1).numpy()
                each.append((predicted == wanted).mean())
            found[base_lr] = float(np.mean(each))
        best = max(found, key=lambda rate: found[rate])
        run.facts |= {"n": len(wanted), f"{self.specs[0].key}_lr": best}
        yield self.specs[0], found[best]

    def learned_from(self, labels: np.ndarray, classes: int, draw: int) -> np.ndarray:
        """Indices of the images of a draw.

        Raises:
            ConfigError: fewer than a batch, or than `per_class`.
        """
        rows = np.arange(len(labels))
        if self.per_class:
            rows = few_of_each(labels, classes, self.per_class, self.seed + draw)
        if len(rows) < self.batch_size:
            raise ConfigError(f"LinearProbe: batch_size is {self.batch_size} and there are {len(rows)} images")
        return rows

    def read(self, model: nn.Layer) -> Callable:
        """What gives the features of images."""
        if self.last_blocks is None:
            return model
        if not isinstance(model, DINOVisionTransformer) or self.last_blocks > len(model.blocks):
            raise ConfigError(
                f"LinearProbe: last_blocks is {self.last_blocks}, which {type(model).__name__} has not: it reads blocks of a "
                "ppssl.DINOVisionTransformer"
            )
        return lambda images: linear_features(model.last_tokens(images, self.last_blocks), self.patch_mean)

    def trained(self, features: np.ndarray, labels: np.ndarray, classes: int, peak: float, seed: int) -> ProbeHead:
        """A classifier of features float32 [N, D] with labels int64 [N], trained, in evaluation mode."""
        rng = np.random.default_rng(seed)
        head = ProbeHead(features.shape[1], classes, norm=self.norm)
        # Not drawn by Paddle, whose generator is the training's.
        head.linear.weight.set_value((0.01 * rng.standard_normal(head.linear.weight.shape)).astype(np.float32))
        factory = optim.LARS if self.optimizer == "lars" else optim.Momentum
        made = optim.make(head, factory, weight_decay=0.0, no_weight_decay=[], **_OPTIMIZERS[self.optimizer])
        criterion, x, y = CrossEntropy(), paddle.to_tensor(features), paddle.to_tensor(labels)
        steps = len(features) // self.batch_size
        total, warmup = self.epochs * steps, self.warmup_epochs * steps
        with paddle.set_grad_enabled(True):
            for step in range(total):
                if step % steps == 0:
                    order = rng.permutation(len(features))
                rows = paddle.to_tensor(order[step % steps * self.batch_size :][: self.batch_size])
                criterion(head(paddle.gather(x, rows)), {"label": paddle.gather(y, rows)}).backward()
                made.set_lr(_rate(step, peak, warmup, total))
                made.step()
                made.clear_grad()
        head.eval()
        return head


def _rate(step: int, peak: float, warmup: int, total: int) -> float:
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
