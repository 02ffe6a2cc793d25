"""The network as it is deployed: the same function as the eager model's, rearranged for CPU inference.

- Maps are turned, [B, C, W, H] with turned kernels, so that channels-last they are what
  `ppcore.layers.dft` takes; spectra stay in slots between transform and inverse.
- A 1x1 convolution over a concatenation is the sum of the convolutions of its parts: nothing is
  concatenated, and the part that is upsampled is convolved before.
- Linear layers that follow each other (extract and conv_in, the phase's convolutions in the Adjustment
  block, the fusion and the last convolution) are multiplied into one.
- Half instance norm is two convolutions, one normalised, instead of one that is cut and put together again.

`trunk` holds what is global, `tail` what is local and runs at full size, so that it can run strip by strip.
"""

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.deploy.form import Form, Padding, Stage, Strips
from ppcore.errors import ConfigError
from ppcore.layers.bilinear import bilinear_matrix
from ppcore.layers.dft import DFT2D, amplitude_phase, sizes
from ppuhdfour import blocks

Array = np.ndarray


def arrays(conv: nn.Layer) -> tuple[Array, Array]:
    """Weight [O, I, k, k] and bias [O] of a convolution, float64 for what is multiplied together."""
    return conv.weight.numpy().astype("float64"), conv.bias.numpy().astype("float64")


class Turned(nn.Layer):
    """A convolution on turned maps.

    Args:
        weight: [O, I, k, k] of the convolution on upright maps.
        bias: [O], or None.
        stride, padding: of both axes.
    """

    def __init__(self, weight: Array, bias: Array | None = None, *, stride: int = 1, padding: int | None = None):
        super().__init__()
        self.stride = stride
        self.padding = weight.shape[-1] // 2 if padding is None else padding
        self.weight = parameter(self, np.swapaxes(weight, 2, 3))
        self.bias = None if bias is None else parameter(self, bias)

    @classmethod
    def of(cls, conv: nn.Conv2D, part: slice = slice(None), bias: bool = True) -> "Turned":
        """A convolution of the model, or the part of it that reads some of its input's channels."""
        weight, shift = arrays(conv)
        return cls(weight[:, part], shift if bias else None, stride=conv._stride[0], padding=conv._updated_padding[0])

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class Mix(nn.Layer):
    """A 1x1 convolution on channels-last slots: a product, which stays in float32 when convolutions do not."""

    def __init__(self, weight: Array, bias: Array | None = None):
        super().__init__()
        self.weight = parameter(self, weight[:, :, 0, 0].T)
        self.bias = None if bias is None else parameter(self, bias)

    @classmethod
    def of(cls, conv: nn.Conv2D) -> "Mix":
        """The same convolution."""
        return cls(*arrays(conv))

    def forward(self, x):
        x = paddle.matmul(x, self.weight)
        return x if self.bias is None else x + self.bias


def parameter(layer: nn.Layer, value: Array) -> paddle.Tensor:
    """A parameter of `layer` with this value, float32."""
    value = np.ascontiguousarray(value, "float32")
    return layer.create_parameter(list(value.shape), default_initializer=nn.initializer.Assign(value))


def leaky_relu(x: paddle.Tensor) -> paddle.Tensor:
    """LeakyReLU with slope 0.1, as a maximum: Paddle Inference's fused form crashes (3.3.1)."""
    return paddle.maximum(x, 0.1 * x)


class HINUnit(nn.Layer):
    """`blocks.HINUnit` without cutting channels: the normalised half and the rest are convolutions of their own."""

    def __init__(self, unit: blocks.HINUnit):
        super().__init__()
        half = unit.norm.half
        weight, bias = arrays(unit.conv1)
        self.normed1 = Turned(weight[:half])  # its bias is what the norm takes away
        self.rest1 = Turned(weight[half:], bias[half:])
        self.scale = parameter(self, unit.norm.weight.numpy())
        self.shift = parameter(self, unit.norm.bias.numpy())
        self.normed2 = Turned.of(unit.conv2, slice(0, half))
        self.rest2 = Turned.of(unit.conv2, slice(half, None), bias=False)
        self.identity = Turned.of(unit.identity)

    def forward(self, x):
        normed = F.instance_norm(self.normed1(x), weight=self.scale, bias=self.shift, eps=1e-5)
        y = self.normed2(leaky_relu(normed)) + self.rest2(leaky_relu(self.rest1(x)))
        return leaky_relu(y) + self.identity(x)


class Coupling(nn.Layer):
    """`blocks.ResidualCoupling` and the share of the merging convolution that reads it."""

    def __init__(self, spatial: blocks.ResidualCoupling, merge: nn.Conv2D, channels: int):
        super().__init__()
        self.half = channels // 2
        self.f, self.g, self.h = (HINUnit(unit) for unit in (spatial.f, spatial.g, spatial.h))
        self.merge1 = Turned.of(merge, slice(0, self.half))
        self.merge2 = Turned.of(merge, slice(self.half, channels), bias=False)

    def forward(self, x):
        x1, x2 = paddle.split(x, 2, axis=1)
        y1 = x1 + self.f(x2)
        # exp(s) with s = 0.8 (2 sigmoid - 1), and once more x2 for the residual.
        y2 = x2 * (paddle.exp(1.6 * F.sigmoid(self.h(y1)) - 0.8) + 1.0) + self.g(y1)
        return self.merge1(y1 + x1) + self.merge2(y2)


class Unit(nn.Layer):
    """`blocks.HINUnit` as the spatial branch, and the share of the merging convolution that reads it."""

    def __init__(self, spatial: blocks.HINUnit, merge: nn.Conv2D, channels: int):
        super().__init__()
        self.unit = HINUnit(spatial)
        self.merge = Turned.of(merge, slice(0, channels))

    def forward(self, x):
        return self.merge(self.unit(x))


class Frequency(nn.Layer):
    """`blocks.Frequency` and `blocks.GuidedFrequency` on slots."""

    def __init__(self, branch: blocks.Frequency, low_phase: nn.Conv2D | None = None):
        super().__init__()
        self.amplitude1, self.amplitude2 = Mix.of(branch.amplitude.conv1), Mix.of(branch.amplitude.conv2)
        self.phase1 = Mix.of(branch.phase.conv1)
        sft, merge = getattr(branch, "sft", None), getattr(branch, "merge_phase", None)
        self.modulate = None if sft is None else Modulation(sft)
        self.given = None
        weight, bias = arrays(branch.phase.conv2)
        if merge is not None:
            # merge_phase over (guide, own): the guide's part absorbs LowNet's convolution, the own part conv2.
            outer, outer_bias = arrays(merge)
            guide, own = np.split(outer, 2, axis=1)
            weight, bias = compose(own, weight), outer_bias + own[:, :, 0, 0] @ bias
            if low_phase is not None:
                inner, inner_bias = arrays(low_phase)
                guide, bias = compose(guide, inner), bias + guide[:, :, 0, 0] @ inner_bias
            self.given = Mix(guide)
        self.phase2 = Mix(weight, bias)

    def forward(self, x, dft: DFT2D, guides=None):
        x = paddle.transpose(x, [0, 2, 3, 1])  # [B, W, H, C]
        amplitude, phase = amplitude_phase(*dft.forward(x))
        amplitude = self.amplitude2(leaky_relu(self.amplitude1(amplitude)))
        phase = self.phase2(leaky_relu(self.phase1(phase)))
        if self.modulate is not None:
            amplitude = self.modulate(amplitude, guides[0], dft)
        if self.given is not None:
            phase = phase + self.given(guides[1])
        x = dft.inverse(amplitude * paddle.cos(phase), amplitude * paddle.sin(phase))
        return paddle.transpose(x, [0, 3, 1, 2])


class Modulation(nn.Layer):
    """`blocks.SFT`; its 3x3 convolutions need the guide's frequencies in their natural order."""

    def __init__(self, sft: blocks.SFT):
        super().__init__()
        multiply, add = arrays(sft.multiply), arrays(sft.add)
        self.direct = self.modulated = None
        if sft.fuse is not None:
            outer, bias = arrays(sft.fuse)
            direct, modulated = np.split(outer, 2, axis=1)
            self.direct, self.modulated = Mix(direct), Mix(modulated)
            add = compose(modulated, add[0]), bias + modulated[:, :, 0, 0] @ add[1]
        self.multiply, self.add = Turned(*multiply), Turned(*add)

    def forward(self, amplitude, guide, dft: DFT2D):
        guide = paddle.transpose(dft.natural(guide), [0, 3, 1, 2])  # [B, C, W//2 + 1, H]
        factor, term = (dft.slots(paddle.transpose(conv(guide), [0, 2, 3, 1])) for conv in (self.multiply, self.add))
        modulated = factor * amplitude
        if self.direct is not None:
            modulated = self.direct(amplitude) + self.modulated(modulated)
        return modulated + term


def compose(outer: Array, inner: Array) -> Array:
    """The weight of a 1x1 convolution after another convolution."""
    return np.einsum("om,mikl->oikl", outer[:, :, 0, 0], inner)


class Block(nn.Layer):
    """`blocks.FouSpa`, with or without either branch."""

    def __init__(self, block: blocks.FouSpa, low_phase: nn.Conv2D | None = None):
        super().__init__()
        channels = block.merge.weight.shape[0]
        kinds = {blocks.ResidualCoupling: Coupling, blocks.HINUnit: Unit}
        self.spatial = self.frequency = None
        if block.spatial is not None:
            self.spatial = kinds[type(block.spatial)](block.spatial, block.merge, channels)
        if block.frequency is not None:
            self.frequency = Frequency(block.frequency, low_phase)
            self.merge = Turned.of(block.merge, slice(-channels, None), bias=self.spatial is None)

    def forward(self, x, dft: DFT2D, guides=None):
        y = x
        if self.frequency is not None:
            y = y + self.merge(self.frequency(x, dft, guides))
        return y if self.spatial is None else y + self.spatial(x)


class Residual(nn.Layer):
    """`blocks.Residual`."""

    def __init__(self, block: blocks.Residual):
        super().__init__()
        self.conv1, self.conv2 = Turned.of(block.conv1), Turned.of(block.conv2)

    def forward(self, x, dft: DFT2D, guides=None):
        return self.conv2(leaky_relu(self.conv1(x))) + x


def deployed_block(block: nn.Layer, low_phase: nn.Conv2D | None = None) -> nn.Layer:
    """The deployed form of a block of the model."""
    return Residual(block) if isinstance(block, blocks.Residual) else Block(block, low_phase)


class Up(nn.Layer):
    """`conv` over (upsampled z, skip), with z convolved before it is upsampled: both are linear."""

    def __init__(self, conv: nn.Conv2D, skip: int):
        super().__init__()
        inner = conv.weight.shape[1] - skip
        self.low = Turned.of(conv, slice(0, inner), bias=False)
        self.skip = Turned.of(conv, slice(inner, None))

    def forward(self, z, skip):
        z = paddle.transpose(self.low(z), [0, 2, 3, 1])
        batch, low_width, low_height, channels = sizes(z)
        _, _, width, height = sizes(skip)
        z = paddle.matmul(bilinear_matrix(low_width, width), paddle.reshape(z, [batch, low_width, -1]))
        z = paddle.reshape(z, [batch, width, low_height, channels])
        z = paddle.matmul(bilinear_matrix(low_height, height), z)  # [B, W, H, C]
        return self.skip(skip) + paddle.transpose(z, [0, 3, 1, 2])


class Trunk(nn.Layer):
    """`UHDFour.trunk`: image [B, 3, H, W] -> y_low [B, w, h, 3], features [B, w, h, 3·scale²]."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        low, high = model.low, model.high
        self.scale = model.scale
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
        self.adjust = deployed_block(high.adjust, low.phase)
        guided = getattr(high.adjust, "frequency", None)
        self.guides = guided is not None and (guided.sft is not None or guided.merge_phase is not None)
        modulated = self.guides and guided.sft is not None
        self.amplitude = Mix.of(low.amplitude) if modulated and low.amplitude is not None else None
        self.refine = nn.LayerList([deployed_block(block) for block in high.refine])

    def forward(self, x):
        # x is the padded image, [B, 3, H, W].
        z = self.conv_in(self._reduced(x))
        large = DFT2D(*sizes(z)[2:])
        top = self.block1(z, large)
        z = self.down1(top)
        medium = DFT2D(*sizes(z)[2:])
        middle = self.block2(z, medium)
        z = self.down2(middle)
        z = self.block3(z, DFT2D(*sizes(z)[2:]))
        z = self.block4(self.up1(z, middle), medium)
        z = self.up2(z, top)
        if self.block5 is not None:
            z = self.block5(z, large)
        z = self.conv_out(z)
        guides = self._guides(z, large) if self.guides else None
        features = self.adjust(self._unshuffled(x), large, guides)
        for block in self.refine:
            features = block(features, large)
        return paddle.transpose(self.to_image(z), [0, 2, 3, 1]), paddle.transpose(features, [0, 2, 3, 1])

    def _reduced(self, x):
        first, step = self.scale // 2 - 1, self.scale
        rows = x[:, :, first::step] + x[:, :, first + 1 :: step]
        x = (rows[:, :, :, first::step] + rows[:, :, :, first + 1 :: step]) * 0.25
        return paddle.transpose(x, [0, 1, 3, 2])

    def _unshuffled(self, x):
        batch, _, height, width = sizes(x)
        s = self.scale
        x = paddle.reshape(x, [batch, 3, height // s, s, width // s, s])
        x = paddle.transpose(x, [0, 4, 2, 1, 3, 5])  # [B, w, h, 3, s, s]
        x = paddle.reshape(x, [batch, width // s, height // s, 3 * s * s])
        return paddle.transpose(x, [0, 3, 1, 2])

    def _guides(self, z, dft: DFT2D):
        amplitude, phase = amplitude_phase(*dft.forward(paddle.transpose(z, [0, 2, 3, 1])))
        return (amplitude if self.amplitude is None else self.amplitude(amplitude)), phase


class Tail(nn.Layer):
    """`UHDFour.tail`: (y_low [B, w, h, 3], features [B, w, h, 3·scale²]) -> image [B, 3, H, W]."""

    def __init__(self, model: nn.Layer):
        super().__init__()
        high = model.high
        self.scale, self.concat_low = model.scale, high.concat_low
        self.conv_out = Turned.of(high.conv_out)
        # The 1x1 fusion goes into the convolution after it. That one pads the fusion's result with zeros, so the
        # fusion's bias must end at the border, too: it becomes the weight of a channel of ones.
        (inner, inner_bias), (outer, bias) = arrays(high.fuse), arrays(high.tail[0])
        inner = np.concatenate([inner, inner_bias[:, None, None, None]], axis=1)
        self.fused = Turned(np.einsum("omkl,mi->oikl", outer, inner[:, :, 0, 0]), bias)
        self.rest = nn.LayerList([Turned.of(conv) for conv in high.tail[1:]])

    def forward(self, y_low, features):
        batch, width, height, _ = sizes(features)
        s = self.scale
        z = paddle.reshape(features, [batch, width, height, 3, s, s])
        z = paddle.transpose(z, [0, 3, 1, 5, 2, 4])  # [B, 3, w, s, h, s]
        z = self.conv_out(paddle.reshape(z, [batch, 3, width * s, height * s]))
        found = [z, paddle.ones_like(z[:, :1])]
        if self.concat_low:
            found.insert(0, self._upsampled(y_low, width, height))
        z = self.fused(paddle.concat(found, axis=1))
        for conv in self.rest:
            z = conv(z)
        return paddle.transpose(z, [0, 1, 3, 2])

    def _upsampled(self, y_low, width, height):
        y_low = paddle.transpose(y_low, [0, 3, 1, 2])  # [B, 3, w, h]
        y_low = paddle.matmul(bilinear_matrix(width, width * self.scale), y_low)
        return paddle.matmul(y_low, bilinear_matrix(height, height * self.scale), transpose_y=True)


def deployed(model: nn.Layer) -> Form:
    """The deployed form of a `UHDFour` with its present weights.

    Raises:
        ConfigError: the model keeps the released code's undefined phase (`raw`), which no two engines agree on.
    """
    if model.low.raw:
        raise ConfigError("UHDFour: raw=True is not exported: its result differs from engine to engine; use raw=False")
    model.eval()
    s = model.scale
    reach = 1 + len(model.high.tail)  # of the 3x3 convolutions, in pixels
    channels = 3 * s * s
    return Form(
        stages=(
            Stage("trunk", Trunk(model), {"x": (None, 3, None, None)}, ("y_low", "features")),
            Stage(
                "tail", Tail(model), {"y_low": (None, None, None, 3), "features": (None, None, None, channels)}, ("y",)
            ),
        ),
        padding=Padding(multiple=s, least=4 * s, least_either=8 * s),
        # One pixel more: where a strip ends, upsampling repeats its last pixel.
        strips=Strips(stage="tail", axis=1, channels=3, output_axis=3, scale=s, halo=-(-reach // s) + 1),
    )
