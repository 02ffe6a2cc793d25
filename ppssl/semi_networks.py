"""The network of Lee's pseudo-labels (2013): one wide hidden layer of rectified linear units over the pixels."""

import math

from paddle import nn

from ppcore.layers import checks, init


class OneHiddenLayer(nn.Layer):
    """Pixels, one hidden layer of rectified linear units, outputs.

    Args:
        img_size: side of the images.
        in_chans: their channels.
        hidden: units of the hidden layer; Lee's 5000 are as far as we know.
        drop_in: share of the pixels that are dropped in training.
        drop_rate: share of the hidden units that are dropped in training.
        num_classes: outputs.

    Shape:
        [B, in_chans, img_size, img_size] float -> [B, num_classes].

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(
        self,
        *,
        img_size: int = 28,
        in_chans: int = 1,
        hidden: int = 5000,
        drop_in: float = 0.0,
        drop_rate: float = 0.0,
        num_classes: int = 10,
    ):
        super().__init__()
        checks.whole(self, 1, img_size=img_size, in_chans=in_chans, hidden=hidden, num_classes=num_classes)
        checks.rate(self, drop_in=drop_in, drop_rate=drop_rate)
        self.img_size, self.in_chans, self.num_classes = (img_size, img_size), in_chans, num_classes
        pixels = in_chans * img_size**2
        self.drop_in, self.drop = nn.Dropout(drop_in), nn.Dropout(drop_rate)
        self.hidden = nn.Linear(pixels, hidden, init.attr(init.Gaussian(math.sqrt(2 / pixels))))
        self.head = nn.Linear(hidden, num_classes, init.attr(init.Gaussian(math.sqrt(1 / hidden))))

    def forward(self, x):
        x = self.drop_in(x.flatten(1))
        return self.head(self.drop(nn.functional.relu(self.hidden(x))))
