"""The pixels themselves as features: what every learned representation has to be better than."""

from paddle import nn


class RawPixels(nn.Layer):
    """An image's pixels in a row; a method without weights, for `Baselines`.

    Shape:
        [B, C, H, W] -> [B, C·H·W].
    """

    needs_weights = False

    def forward(self, x):
        return x.flatten(1)
