"""SRResNet, the generator of SRGAN (Ledig et al., CVPR 2017)."""

from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.layers import Conv2D, checks, init
from ppcore.weights import WeightMap
from ppsr.sr_layouts import srresnet_maps


class SRResNet(nn.Layer):
    """SRResNet: residual blocks at the small size, and doublings by rearranged channels.

    Input: RGB in [0, 1], [B, 3, H, W], the small image. Output: [B, 3, scale·H, scale·W].

    Args:
        scale: 2, 4 or 8 times larger; 1,399,637, 1,547,350 or 1,695,063 parameters.
        width: channels.
        blocks: residual blocks.
        output: `none` gives the last convolution's result, as in the paper; `clamp` cuts it at 0 and 1 (Lornatang's code; no
            gradient passes outside); `tanh` gives (tanh + 1) / 2 (leftthomas's).
        form: `paper`; or `leftthomas`, whose convolutions all have biases, and after whose blocks a PReLU stands in place of
            the batch norm (734,092 parameters with 5 blocks, as in its released file).

    Raises:
        ConfigError: an argument out of its range.
    """

    makes_images = True
    in_chans = 3

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 64,
        blocks: int = 16,
        output: Literal["none", "clamp", "tanh"] = "none",
        form: Literal["paper", "leftthomas"] = "paper",
    ):
        super().__init__()
        if scale not in (2, 4, 8):
            checks.fail(self, "scale", scale, "2, 4 or 8")
        checks.whole(self, 1, width=width, blocks=blocks)
        checks.choice(self, ("none", "clamp", "tanh"), output=output)
        checks.choice(self, ("paper", "leftthomas"), form=form)
        self.scale, self.output, self.form = scale, output, form
        doublings = scale.bit_length() - 1
        self.entry, self.entry_slope = conv(3, width, 9), nn.PReLU()
        self.residual = nn.LayerList([Residual(width, bias=form == "leftthomas") for _ in range(blocks)])
        self.fuse = conv(width, width, 3, bias=form == "leftthomas")
        self.fuse_norm = nn.BatchNorm2D(width) if form == "paper" else nn.PReLU()
        self.doublings = nn.LayerList([Doubling(width) for _ in range(doublings)])
        self.exit = conv(width, 3, 9)
        # Small pixels on each side that an output pixel depends on, from the last convolution to the first.
        reach = 4
        for _ in range(doublings):
            reach = -(-reach // 2) + 1
        self.reach = reach + 1 + 2 * blocks + 4

    def forward(self, x):
        first = self.entry_slope(self.entry(x))
        y = first
        for block in self.residual:
            y = block(y)
        y = first + self.fuse_norm(self.fuse(y))
        for doubling in self.doublings:
            y = doubling(y)
        y = self.exit(y)
        if self.output == "clamp":
            return paddle.clip(y, 0.0, 1.0)
        return y if self.output == "none" else 0.5 * (paddle.tanh(y) + 1.0)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppsr.sr_deploy`)."""
        from ppsr.sr_deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The layouts `lornatang`, and `leftthomas` of the form of that name (`ppcore.weights`)."""
        return srresnet_maps()


class Residual(nn.Layer):
    """Convolution, batch norm, PReLU, convolution, batch norm, and the input added: [B, C, H, W] to the same."""

    def __init__(self, width: int, *, bias: bool):
        super().__init__()
        self.conv1, self.norm1, self.slope = conv(width, width, 3, bias=bias), nn.BatchNorm2D(width), nn.PReLU()
        self.conv2, self.norm2 = conv(width, width, 3, bias=bias), nn.BatchNorm2D(width)

    def forward(self, x):
        return x + self.norm2(self.conv2(self.slope(self.norm1(self.conv1(x)))))


class Doubling(nn.Layer):
    """[B, C, H, W] -> [B, C, 2H, 2W]: four times the channels, rearranged, and PReLU."""

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.slope = conv(width, 4 * width, 3), nn.PReLU()

    def forward(self, x):
        return self.slope(F.pixel_shuffle(self.conv(x), 2))


def conv(inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1) -> nn.Conv2D:
    """A convolution with zeros beyond the edge, beginning as torch's do."""
    fan_in = inputs * size * size
    return Conv2D(
        inputs, outputs, size, stride=stride, padding=size // 2, weight_attr=init.attr(init.UniformFanIn()),
        bias_attr=init.attr(init.UniformFanIn(fan_in)) if bias else False,
    )  # fmt: skip


def srresnet(scale: int = 4, **options) -> SRResNet:
    """SRResNet with 16 blocks of 64 channels, the paper's."""
    return SRResNet(scale=scale, **options)
