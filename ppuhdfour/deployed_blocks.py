"""UHDFour's blocks as they are deployed: the same functions, rearranged for CPU inference (see `ppuhdfour.deploy`)."""

import numpy as np
import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers.bilinear import bilinear_matrix
from ppcore.layers.dft import DFT2D, amplitude_phase
from ppcore.layers.init import parameter
from ppcore.layers.leaky_relu import leaky_relu
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

    def size(self, length: paddle.Tensor) -> paddle.Tensor:
        """The length of an axis of the result, of that of the input (0-d int64)."""
        return (length + (2 * self.padding - self.weight.shape[-1])) // self.stride + 1

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


def first(x: paddle.Tensor, size: DFT2D) -> paddle.Tensor:
    """[B·W·H, C] -> [B, C, W, H], what convolutions take; an engine that keeps channels last moves nothing."""
    return paddle.transpose(paddle.reshape(x, [-1, size.width, size.height, x.shape[-1]]), [0, 3, 1, 2])


def last(x: paddle.Tensor) -> paddle.Tensor:
    """[B, C, W, H] -> [B·W·H, C]."""
    return paddle.reshape(paddle.transpose(x, [0, 2, 3, 1]), [-1, x.shape[1]])


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

    def forward(self, x, size: DFT2D):
        x1, x2 = (first(half, size) for half in paddle.split(x, 2, axis=1))
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

    def forward(self, x, size: DFT2D):
        return self.merge(self.unit(first(x, size)))


class Frequency(nn.Layer):
    """`blocks.Frequency` and `blocks.GuidedFrequency` on slots; what depends on the guides alone is `Guides`."""

    def __init__(self, branch: blocks.Frequency):
        super().__init__()
        self.amplitude1, self.amplitude2 = Mix.of(branch.amplitude.conv1), Mix.of(branch.amplitude.conv2)
        self.phase1 = Mix.of(branch.phase.conv1)
        guided = isinstance(branch, blocks.GuidedFrequency)
        sft, merge = (branch.sft, branch.merge_phase) if guided else (None, None)
        self.guided_amplitude, self.guided_phase = sft is not None, merge is not None
        self.direct = self.modulated = None
        if sft is not None and sft.fuse is not None:
            direct, modulated = np.split(arrays(sft.fuse)[0], 2, axis=1)
            self.direct, self.modulated = Mix(direct), Mix(modulated)
        weight, bias = arrays(branch.phase.conv2)
        if merge is not None:
            own = np.split(arrays(merge)[0], 2, axis=1)[1]
            weight, bias = compose(own, weight), own[:, :, 0, 0] @ bias
        self.phase2 = Mix(weight, bias)

    def forward(self, x, dft: DFT2D, guides=()):
        amplitude, phase = amplitude_phase(*dft.forward(x))
        amplitude = self.amplitude2(leaky_relu(self.amplitude1(amplitude)))
        phase = self.phase2(leaky_relu(self.phase1(phase)))
        if self.guided_amplitude:
            factor, term = guides[:2]
            modulated = factor * amplitude
            if self.direct is not None:
                modulated = self.direct(amplitude) + self.modulated(modulated)
            amplitude = modulated + term
        if self.guided_phase:
            phase = phase + guides[-1]
        return dft.inverse(amplitude * paddle.cos(phase), amplitude * paddle.sin(phase))


class Guides(nn.Layer):
    """What LowNet's last map gives the Adjustment block: factor and term of its amplitude, term of its phase.

    Attributes:
        names: of those there are; some ablations leave guides out.
    """

    def __init__(self, branch: blocks.GuidedFrequency, amplitude: nn.Conv2D | None, phase: nn.Conv2D | None):
        super().__init__()
        sft, merge = branch.sft, branch.merge_phase
        self.names = (*(("factor", "term") if sft else ()), *(("turn",) if merge else ()))
        self.amplitude = self.factor = self.phase = None
        if sft is not None:
            self.amplitude = None if amplitude is None else Mix.of(amplitude)
            add = arrays(sft.add)
            if sft.fuse is not None:
                outer, bias = arrays(sft.fuse)
                outer = np.split(outer, 2, axis=1)[1]
                add = compose(outer, add[0]), bias + outer[:, :, 0, 0] @ add[1]
            self.factor, self.term = Turned.of(sft.multiply), Turned(*add)
        if merge is not None:
            outer, bias = arrays(merge)
            outer = np.split(outer, 2, axis=1)[0]
            if phase is not None:
                inner, inner_bias = arrays(phase)
                outer, bias = compose(outer, inner), bias + outer[:, :, 0, 0] @ inner_bias
            self.phase = Mix(outer, bias)

    def forward(self, x, dft: DFT2D):
        amplitude, phase = amplitude_phase(*dft.forward(x))
        found = []
        if self.factor is not None:
            amplitude = amplitude if self.amplitude is None else self.amplitude(amplitude)
            # The 3x3 convolutions need the frequencies in their natural order: [B, C, W//2 + 1, H].
            amplitude = paddle.transpose(dft.natural(amplitude), [0, 3, 1, 2])
            found = [dft.slots(last(conv(amplitude))) for conv in (self.factor, self.term)]
        return found if self.phase is None else [*found, self.phase(phase)]


def compose(outer: Array, inner: Array) -> Array:
    """The weight of a 1x1 convolution after another convolution."""
    return np.einsum("om,mikl->oikl", outer[:, :, 0, 0], inner)


class Block(nn.Layer):
    """`blocks.FouSpa`, with or without either branch."""

    def __init__(self, block: blocks.FouSpa):
        super().__init__()
        channels = block.merge.weight.shape[0]
        kinds = {blocks.ResidualCoupling: Coupling, blocks.HINUnit: Unit}
        self.spatial = self.frequency = None
        if block.spatial is not None:
            self.spatial = kinds[type(block.spatial)](block.spatial, block.merge, channels)
        if block.frequency is not None:
            self.frequency = Frequency(block.frequency)
            self.merge = Turned.of(block.merge, slice(-channels, None), bias=self.spatial is None)

    def forward(self, x, dft: DFT2D, guides=()):
        found = []
        if self.frequency is not None:
            found.append(self.merge(first(self.frequency(x, dft, guides), dft)))
        if self.spatial is not None:
            found.append(self.spatial(x, dft))
        return x + last(sum(found[1:], found[0]))


class Residual(nn.Layer):
    """`blocks.Residual`."""

    def __init__(self, block: blocks.Residual):
        super().__init__()
        self.conv1, self.conv2 = Turned.of(block.conv1), Turned.of(block.conv2)

    def forward(self, x, dft: DFT2D, guides=()):
        return x + last(self.conv2(leaky_relu(self.conv1(first(x, dft)))))


def deployed_block(block: nn.Layer) -> nn.Layer:
    """The deployed form of a block of the model."""
    return Residual(block) if isinstance(block, blocks.Residual) else Block(block)


class Up(nn.Layer):
    """`conv` over (upsampled z, skip), with z convolved before it is upsampled: both are linear."""

    def __init__(self, conv: nn.Conv2D, skip: int):
        super().__init__()
        inner = conv.weight.shape[1] - skip
        self.low = Turned.of(conv, slice(0, inner), bias=False)
        self.skip = Turned.of(conv, slice(inner, None))

    def forward(self, z, skip, low: DFT2D, size: DFT2D):
        z = last(self.low(first(z, low)))
        channels = z.shape[-1]
        z = paddle.reshape(z, [-1, low.width, low.height * channels])
        z = paddle.matmul(bilinear_matrix(low.width, size.width)[None], z)
        z = paddle.reshape(z, [-1, low.height, channels])
        z = paddle.matmul(bilinear_matrix(low.height, size.height)[None], z)
        return last(self.skip(first(skip, size))) + paddle.reshape(z, [-1, channels])
