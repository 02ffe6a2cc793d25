"""VDSR: twenty convolutions that learn what bicubic interpolation leaves out (Kim, Lee and Lee, CVPR 2016)."""

import paddle.nn.functional as F
from paddle import nn

from ppcore.layers import Conv2D, checks, init
from ppcore.weights import WeightMap
from ppsr.he_normal import HeNormal
from ppsr.sr_layouts import vdsr_maps


class VDSR(nn.Layer):
    """VDSR: 3x3 convolutions with zeros beyond the edge, ReLU between them, and the input added to their result.

    Input: Y in [0, 1], [B, 1, H, W], already enlarged to the size wanted, by any factor: one network is for all. Output:
    the same size, not cut at 0 and 1.

    Args:
        depth: convolutions.
        width: channels between them.
        bias: whether they have biases: the authors' have (665,921 parameters), pytorch-vdsr's have not (664,704).

    Raises:
        ConfigError: an argument out of its range.
    """

    makes_images = True
    in_chans = 1
    scale = 1
    enlarged_first = True

    def __init__(self, *, depth: int = 20, width: int = 64, bias: bool = True):
        super().__init__()
        checks.whole(self, 2, depth=depth)
        checks.whole(self, 1, width=width)
        checks.flag(self, bias=bias)
        sizes = [1, *[width] * (depth - 1), 1]
        self.convs = nn.LayerList([_conv(sizes[i], sizes[i + 1], bias) for i in range(depth)])
        self.reach = depth  # pixels on each side that an output pixel depends on

    def forward(self, x):
        y = x
        for conv in self.convs[:-1]:
            y = F.relu(conv(y))
        return x + self.convs[-1](y)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppsr.sr_deploy`)."""
        from ppsr.sr_deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The layouts `vdsr` (the authors' MATLAB arrays) and `pytorch_vdsr` (`ppcore.weights`)."""
        return vdsr_maps()


def _conv(inputs: int, outputs: int, bias: bool) -> nn.Conv2D:
    return Conv2D(
        inputs, outputs, 3, padding=1, weight_attr=init.attr(HeNormal()),
        bias_attr=init.attr(init.Zeros()) if bias else False,
    )  # fmt: skip


def vdsr(**options) -> VDSR:
    """VDSR, the paper's 20 layers of 64 channels."""
    return VDSR(**options)
