"""What classifiers of several stages have in common: their blocks, and a head that reads the mean of the last map."""

import paddle.nn as nn

from ppcore.layers import checks
from ppcore.layers.linear import Linear


class StagedClassifier(nn.Layer):
    """A network of `layers` (stages with `blocks`), whose `forward_features` gives a map [B, h, w, num_features].

    A constructor sets `num_features` and `num_classes` (0: no head) and calls `build_head` last.
    """

    @property
    def blocks(self) -> list[nn.Layer]:
        """The blocks of all stages, in order."""
        return [block for stage in self.layers for block in stage.blocks]

    def build_head(self) -> None:
        """A fresh head of `num_classes` classes."""
        self.head = Linear(self.num_features, self.num_classes) if self.num_classes else nn.Identity()

    def forward_head(self, features, pre_logits: bool = False):
        """Averages a map [B, h, w, num_features] and classifies: [B, num_classes], or [B, num_features] before the head."""
        pooled = features.mean(axis=[1, 2])
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head by a fresh one of `num_classes` classes (0: none), as for fine-tuning."""
        checks.whole(self, 0, num_classes=num_classes)
        self.num_classes = num_classes
        self.build_head()
