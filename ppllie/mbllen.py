"""MBLLEN: low-light enhancement by a multi-branch network (Lv, Lu, Wu and Lim, BMVC 2018).

Written from a description of the released network; 450,171 parameters.
"""

from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.errors import ConfigError
from ppcore.layers import Conv2D, Conv2DTranspose, reflect_to
from ppcore.layers.init import XavierUniform, attr
from ppcore.weights import WeightMap
from ppllie.mbllen_layout import weight_maps
from ppllie.mbllen_postprocess import postprocess

LEAST = 13  # three 5x5 convolutions without padding leave one pixel of it
REACH = 1 + 6 + 6  # pixels that a branch sees on each side of its feature map


class MBLLEN(nn.Layer):
    """MBLLEN: a chain of features, an enhancement branch on each, and one 1x1 convolution over all results.

    Every layer ends in a ReLU, the last one, too: the result is not negative, and not cut at 1.

    Args:
        width: channels of the features, a multiple of 4.
        depth: features, and so branches.
        postprocess: `none`, or `released`: in evaluation mode the released test script's post-processing
            (`ppllie.mbllen_postprocess`) follows. It takes each image as a whole. Training never sees it.

    Shape:
        RGB in [0, 1], [B, 3, H, W], any H, W >= 1, to the same size. The branches need 13 pixels a side; a smaller image
        is extended to them by reflection at its bottom and right, and the result is cut back (the released network
        refuses such images). From 13 on nothing is added.

    Raises:
        ConfigError: an argument out of its range.
    """

    makes_images = True

    def __init__(self, *, width: int = 32, depth: int = 10, postprocess: Literal["none", "released"] = "none"):
        super().__init__()
        if width < 4 or width % 4:
            raise ConfigError(f"MBLLEN: width is {width}, but must be a positive multiple of 4")
        if depth < 1:
            raise ConfigError(f"MBLLEN: depth is {depth}, but must be at least 1")
        if postprocess not in ("none", "released"):
            raise ConfigError(f"MBLLEN: postprocess is {postprocess!r}; choose none or released")
        self.postprocess = postprocess
        self.reach = depth + REACH
        self.features = nn.LayerList([_conv(width if i else 3, width, 3, padding=1) for i in range(depth)])
        self.branches = nn.LayerList([Branch(width) for _ in range(depth)])
        self.fusion = _conv(3 * depth, 3, 1)

    def network(self, x):
        """The network alone: [B, 3, H, W], H and W >= 13, to the same size."""
        enhanced = []
        for feature, branch in zip(self.features, self.branches, strict=True):
            x = F.relu(feature(x))
            enhanced.append(branch(x))
        return F.relu(self.fusion(paddle.concat(enhanced, axis=1)))

    def forward(self, x):
        height, width = x.shape[2], x.shape[3]
        y = self.network(reflect_to(x, max(height, LEAST), max(width, LEAST)))
        if self.postprocess == "released" and not self.training:
            y = postprocess(y.astype("float32"))
        return y[:, :, :height, :width]

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppllie.mbllen_deploy`)."""
        from ppllie.mbllen_deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The authors' layout (`ppcore.weights`)."""
        return weight_maps()


class Branch(nn.Layer):
    """An enhancement branch: [B, C, H, W] to [B, 3, H, W], by way of [B, C, H - 12, W - 12]."""

    def __init__(self, width: int):
        super().__init__()
        quarter, half = width // 4, width // 2
        self.convs = nn.LayerList([
            _conv(width, quarter, 3, padding=1), _conv(quarter, quarter, 5), _conv(quarter, half, 5), _conv(half, width, 5),
        ])  # fmt: skip
        self.deconvs = nn.LayerList([
            _conv(width, half, 5, Conv2DTranspose), _conv(half, quarter, 5, Conv2DTranspose),
            _conv(quarter, 3, 5, Conv2DTranspose),
        ])  # fmt: skip

    def forward(self, x):
        for layer in [*self.convs, *self.deconvs]:
            x = F.relu(layer(x))
        return x


def _conv(inputs: int, outputs: int, kernel: int, kind: type[nn.Layer] = Conv2D, **options) -> nn.Layer:
    """A convolution as Keras begins it: Glorot's uniform weights, biases 0."""
    weights = attr(XavierUniform())
    return kind(inputs, outputs, kernel, weight_attr=weights, bias_attr=nn.initializer.Constant(0.0), **options)
