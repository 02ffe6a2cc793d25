"""PairLIE: a decomposition learned from pairs of low-light instances (Fu et al., CVPR 2023).

Three networks of five convolutions, 341,767 parameters: X = N(I) removes what is no part of the scene, L = L-Net(X) is
its illumination, R = R-Net(X) its reflectance, X = L·R. Enhancing raises the illumination to a power: L^gamma · R.
"""

from typing import Literal

import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import checks, reflect_to
from ppcore.weights import WeightMap
from ppllie.flat_light_start import start_of_flat_light
from ppllie.pairlie_weights import weight_maps
from ppllie.reflect_conv import ReflectConv

DEPTH = 5  # convolutions of each network
REACH = 2 * DEPTH  # pixels on each side that an output pixel depends on: two networks one after the other
LEAST = 2  # a side that reflection by one pixel needs


class Plain(nn.Layer):
    """Five convolutions, ReLU between them, a sigmoid at the end: [B, 3, H, W] -> [B, out_chans, H, W] in 0..1."""

    def __init__(self, out_chans: int, width: int):
        super().__init__()
        inner = [ReflectConv(width, width) for _ in range(DEPTH - 2)]
        self.convs = nn.LayerList([ReflectConv(3, width), *inner, ReflectConv(width, out_chans)])

    def forward(self, x):
        for conv in self.convs[:-1]:
            x = F.relu(conv(x))
        return F.sigmoid(self.convs[-1](x))


class PairLIE(nn.Layer):
    """PairLIE.

    Input: RGB in [0, 1], [B, 3, H, W], any H, W >= 1; a side of one pixel is made two by repeating it, because a single
    pixel has nothing to reflect, and cut back at the end. Output: L^gamma · R, of the same size and within 0..1. In
    training the parts (L [B, 1, H, W], R [B, 3, H, W], X [B, 3, H, W]), which `ppllie.PairLIELoss` takes.

    Args:
        gamma: power of the illumination; nothing that is trained depends on it. 0.2 is the released script's default,
            0.14 belongs to the paper's figures on LOL; 1 gives back what the parts multiply to, 0 the reflectance.
        width: channels between the convolutions, 64 in the paper.
        start: `random` weights as in the paper, or `flat_light` for short trainings: X = I, which is not trained then,
            L = 1/8, R = 8 X (`ppllie.flat_light_start`).

    Raises:
        ConfigError: gamma is negative or no number, or width is no whole number from 1 on, or too small for `start`.
    """

    makes_images = True
    factor = 1  # of `trunk`'s size to the image's
    tail_reach = REACH

    def __init__(self, *, gamma: float = 0.2, width: int = 64, start: Literal["random", "flat_light"] = "random"):
        super().__init__()
        checks.number(self, gamma=gamma)
        if gamma < 0:
            checks.fail(self, "gamma", gamma, "a number from 0 on")
        checks.whole(self, 1, width=width)
        checks.choice(self, ("random", "flat_light"), start=start)
        self.gamma = gamma
        # In the order of the released files.
        self.illumination = Plain(1, width)
        self.reflectance = Plain(3, width)
        self.denoise = Plain(3, width)
        if start == "flat_light":
            start_of_flat_light(self)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size an image is extended to."""
        return max(height, LEAST), max(width, LEAST)

    def decompose(self, image):
        """L, R and X of images [B, 3, H, W], H and W >= 2."""
        x = self.denoise(image)
        return self.illumination(x), self.reflectance(x), x

    def reflect(self, image):
        """R alone, of images [B, 3, H, W], H and W >= 2: all that the loss needs of a second exposure."""
        return self.reflectance(self.denoise(image))

    def trunk(self, image):
        """Nothing of this network is global: a padded image, twice, which `tail` may be given row by row."""
        return image, image

    def tail(self, image, same):
        """The enhanced image of a padded one; each pixel from `tail_reach` around it. `same` is not looked at."""
        illumination, reflectance, _ = self.decompose(image)
        return illumination**self.gamma * reflectance

    def forward(self, image):
        height, width = image.shape[2], image.shape[3]
        image = reflect_to(image, *self.padded_size(height, width))
        if not self.training:
            return self.tail(image, image)[:, :, :height, :width]
        return tuple(part[:, :, :height, :width] for part in self.decompose(image))

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppllie.pairlie_deploy`)."""
        from ppllie.pairlie_deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The official layout (`ppcore.weights`)."""
        return weight_maps()
