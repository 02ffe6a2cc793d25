"""The network as it is deployed: the same function as the eager model's, rearranged for CPU inference.

- Maps are turned and channels-last, [B, W, H, C], as `ppcore.layers.dft` takes them, and kernels with them; spectra stay in slots between transform and inverse.
- A 1x1 convolution over a concatenation is the sum of the convolutions of its parts: nothing is
  concatenated, and the part that is upsampled is convolved before.
- Linear layers that follow each other (extract and conv_in, the phase's convolutions in the Adjustment
  block, the fusion and the last convolution) are multiplied into one.
- Half instance norm is two convolutions, one normalised, instead of one that is cut and put together again.

Three stages run one after the other, each in the memory of the one before: `low` and `high` hold what is
global; `tail`, what is local, runs at full size and can run tile by tile.
"""

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.deploy import ExportSpec, Padding, Stage, TileRule
from ppcore.errors import ConfigError
from ppcore.layers.bilinear import bilinear_matrix
from ppcore.layers.dft import DFT2D, sizes
from ppuhdfour.blocks import FouSpa
from ppuhdfour.deployed_blocks import Guides, Turned, Up, arrays, compose, deployed_block, first, last


class Low(nn.Layer):
    """LowNet: image [B, 3, H, W] -> y_low [B, w, h, 3] and the guides, each [slots, C]."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        low, adjust = model.low, model.high.adjust
        branch = adjust.frequency if isinstance(adjust, FouSpa) else None
        self.scale = model.factor
        outer, bias = arrays(low.conv_in)
        inner, inner_bias = arrays(model.extract)
        self.conv_in = Turned(compose(outer, inner), bias + outer[:, :, 0, 0] @ inner_bias)
        self.block1, self.block2, self.block3, self.block4 = (
            deployed_block(block) for block in (low.block1, low.block2, low.block3, low.block4)
        )
        self.block5 = None if low.block5 is None else deployed_block(low.block5)
        self.down1, self.down2 = Turned.of(low.down1), Turned.of(low.down2)
        self.up1 = Up(low.up1, low.down1.weight.shape[0])
        self.up2 = Up(low.up2, low.conv_in.weight.shape[0])
        self.conv_out = Turned.of(low.conv_out)
        self.to_image = Turned.of(low.to_image)
        self.guides = None if branch is None else Guides(branch, low.amplitude, low.phase)

    def forward(self, x):
        # x is the padded image, [B, 3, H, W]. All sizes follow from its own, so that an engine can make the tables of a
        # size without computing anything else.
        _, _, height, width = sizes(x)
        width, height = width // self.scale, height // self.scale
        large = DFT2D(width, height)
        width, height = self.down1.size(width), self.down1.size(height)
        medium = DFT2D(width, height)
        small = DFT2D(self.down2.size(width), self.down2.size(height))
        z = self.conv_in(self._reduced(x))
        top = self.block1(last(z), large)
        z = self.down1(first(top, large))
        middle = self.block2(last(z), medium)
        z = self.down2(first(middle, medium))
        z = self.block3(last(z), small)
        z = self.block4(self.up1(z, middle, small, medium), medium)
        z = self.up2(z, top, medium, large)
        if self.block5 is not None:
            z = self.block5(z, large)
        z = self.conv_out(first(z, large))
        y_low = paddle.transpose(self.to_image(z), [0, 2, 3, 1])
        return (y_low,) if self.guides is None else (y_low, *self.guides(last(z), large))

    def _reduced(self, x):
        start, step = self.scale // 2 - 1, self.scale
        rows = x[:, :, start::step] + x[:, :, start + 1 :: step]
        x = (rows[:, :, :, start::step] + rows[:, :, :, start + 1 :: step]) * 0.25
        return paddle.transpose(x, [0, 1, 3, 2])


class High(nn.Layer):
    """The Adjustment block and those after it: image [B, 3, H, W] and guides -> features [B, w, h, 3·scale²]."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        self.scale = model.factor
        self.adjust = deployed_block(model.high.adjust)
        self.refine = nn.LayerList([deployed_block(block) for block in model.high.refine])

    def forward(self, x, guide1=None, guide2=None, guide3=None):
        # As many as there are, in order; jit.save takes no *guides.
        guides = [guide for guide in (guide1, guide2, guide3) if guide is not None]
        batch, _, height, width = sizes(x)
        s = self.scale
        height, width = height // s, width // s
        x = paddle.reshape(x, [batch, 3, height, s, width, s])
        x = paddle.transpose(x, [0, 4, 2, 1, 3, 5])  # [B, w, h, 3, s, s]
        size = DFT2D(width, height)
        x = self.adjust(paddle.reshape(x, [-1, 3 * s * s]), size, guides)
        for block in self.refine:
            x = block(x, size)
        return paddle.reshape(x, [-1, width, height, 3 * s * s])


class Tail(nn.Layer):
    """`UHDFour.tail`: (y_low [B, w, h, 3], features [B, w, h, 3·scale²]) -> image [B, 3, H, W]."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        high = model.high
        self.scale, self.concat_low = model.factor, high.concat_low
        self.conv_out = Turned.of(high.conv_out)
        # The 1x1 fusion goes into the convolution after it. That one pads the fusion's result with zeros, so the
        # fusion's bias must end at the border, too: it becomes the weight of a channel of ones, upsampled with y_low.
        (inner, inner_bias), (outer, bias) = arrays(high.fuse), arrays(high.tail[0])
        inner = np.concatenate([inner, inner_bias[:, None, None, None]], axis=1)
        weight = np.einsum("omkl,mi->oikl", outer, inner[:, :, 0, 0])
        own = slice(3, 6) if self.concat_low else slice(0, 3)
        self.fused = Turned(weight[:, own], bias)
        self.upsampled = Turned(np.delete(weight, own, axis=1))
        self.rest = nn.LayerList([Turned.of(conv) for conv in high.tail[1:]])

    def forward(self, y_low, features):
        batch, width, height, _ = sizes(features)
        s = self.scale
        z = paddle.reshape(features, [batch, width, height, 3, s, s])
        z = paddle.transpose(z, [0, 1, 5, 2, 4, 3])  # [B, w, s, h, s, 3]
        z = self.conv_out(self._first(z, width, height))
        z = self.fused(z) + self.upsampled(self._first(self._up(y_low, width, height), width, height))
        for conv in self.rest:
            z = conv(z)
        z = paddle.reshape(last(z), [batch, width * s, height * s, 3])
        return paddle.transpose(z, [0, 3, 2, 1])

    def _first(self, z, width, height):
        """Channels-last values as a map [B, C, W, H], what convolutions take."""
        z = paddle.reshape(z, [-1, width * self.scale, height * self.scale, z.shape[-1]])
        return paddle.transpose(z, [0, 3, 1, 2])

    def _up(self, y_low, width, height):
        """y_low [B, w, h, 3] and ones, upsampled: [B·W·H, 4]. The axis that tiles leave whole comes first."""
        ones = paddle.ones_like(y_low[:, :, :, :1])
        y = paddle.concat([y_low, ones], axis=3) if self.concat_low else ones
        channels = y.shape[3]
        y = paddle.matmul(
            paddle.transpose(y, [0, 3, 1, 2]),
            bilinear_matrix(height, height * self.scale)[None, None],
            transpose_y=True,
        )
        y = paddle.reshape(paddle.transpose(y, [0, 2, 3, 1]), [-1, width, height * self.scale * channels])
        y = paddle.matmul(bilinear_matrix(width, width * self.scale)[None], y)
        return paddle.reshape(y, [-1, channels])


def export_spec(model: nn.Layer) -> ExportSpec:
    """The deployed form of a `UHDFour` with its present weights.

    Raises:
        ConfigError: the model keeps the released code's undefined phase (`raw`), which no two engines agree on.
    """
    if model.low.raw:
        raise ConfigError("UHDFour: raw=True is not exported: its result differs from engine to engine; use raw=False")
    model.eval()
    s = model.factor
    channels = 3 * s * s
    image = {"x": (None, 3, None, None)}
    low, high, tail = Low(model), High(model), Tail(model)
    guides = () if low.guides is None else low.guides.names
    y_low, features = (None, None, None, 3), (None, None, None, channels)
    return ExportSpec(
        stages=(
            Stage("low", low, image, ("y_low", *guides)),
            Stage("high", high, {**image, **{name: (None, channels) for name in guides}}, ("features",)),
            Stage("tail", tail, {"y_low": y_low, "features": features}, ("y",)),
        ),
        padding=Padding(multiple=s, least=4 * s, least_either=8 * s),
        # One pixel more: where a tile ends, upsampling repeats its last pixel.
        tiles=TileRule(stage="tail", axis=1, channels=3, output_axis=3, scale=s, halo=-(-model.tail_reach // s) + 1),
        # Phases next to ±π turn over with bfloat16's rounding; the last convolutions make the picture's values.
        bf16=("low", "high"),
        # Paddle 3.3.1: with oneDNN the result is 5 to 20 % off, whatever fusions are left out.
        onednn=False,
        # A phase within rounding of ±π may jump, and with it a pixel.
        tolerance=1e-2,
    )
