"""Blocks of UHDFour: half-instance-norm unit, invertible coupling, FouSpa, SFT and Adjustment block.

Maps are [B, C, H, W], spectra [B, C, H, W//2 + 1]. A 1x1 convolution on a spectrum mixes channels
at each frequency alone.
"""

from typing import Literal

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import Conv2D, HalfInstanceNorm, init
from ppcore.layers.fourier import Backend, Pair, amplitude_phase, compose, irfft2, rfft2

Spatial = Literal["coupling", "hin"]


def leaky_relu(x: paddle.Tensor) -> paddle.Tensor:
    """LeakyReLU with slope 0.1."""
    return F.leaky_relu(x, negative_slope=0.1)


class Conv(Conv2D):
    """Convolution with bias; a stride of 1 keeps the size. Starts as U(±1/sqrt(fan_in)), torch's default."""

    def __init__(self, in_chans: int, out_chans: int, kernel: int = 1, *, stride: int = 1, padding: int | None = None):
        super().__init__(
            in_chans,
            out_chans,
            kernel,
            stride=stride,
            padding=(kernel // 2 if stride == 1 else 0) if padding is None else padding,
            weight_attr=init.attr(init.UniformFanIn()),
            bias_attr=init.attr(init.UniformFanIn(in_chans * kernel**2)),
        )


class HINUnit(nn.Layer):
    """conv3x3 - half instance norm - LeakyReLU - conv3x3 - LeakyReLU, plus a 1x1 convolution of the input."""

    def __init__(self, in_chans: int, out_chans: int | None = None):
        super().__init__()
        out_chans = out_chans or in_chans
        self.identity = Conv(in_chans, out_chans)
        self.conv1 = Conv(in_chans, out_chans, 3)
        self.norm = HalfInstanceNorm(out_chans)
        self.conv2 = Conv(out_chans, out_chans, 3)

    def forward(self, x):
        y = leaky_relu(self.norm(self.conv1(x)))
        return leaky_relu(self.conv2(y)) + self.identity(x)


class Coupling(nn.Layer):
    """Invertible affine coupling of two halves of the channels (released code).

    y1 = x1 + f(x2); y2 = x2 · exp(s) + g(y1) with s = 0.8 (2 sigmoid(h(y1)) - 1).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.f = HINUnit(channels // 2)
        self.g = HINUnit(channels // 2)
        self.h = HINUnit(channels // 2)

    def forward(self, x):
        half = x.shape[1] // 2
        x1, x2 = x[:, :half], x[:, half:]
        y1 = x1 + self.f(x2)
        scale = 0.8 * (2 * F.sigmoid(self.h(y1)) - 1)
        y2 = x2 * paddle.exp(scale) + self.g(y1)
        return paddle.concat([y1, y2], axis=1)


class ResidualCoupling(Coupling):
    """The coupling, plus its input."""

    def forward(self, x):
        return super().forward(x) + x


class Pointwise(nn.Layer):
    """Two 1x1 convolutions with a LeakyReLU between them, on an amplitude or a phase."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = Conv(channels, channels)
        self.conv2 = Conv(channels, channels)

    def forward(self, x):
        return self.conv2(leaky_relu(self.conv1(x)))


class SFT(nn.Layer):
    """Spatial feature transform of an amplitude by a guide: mul(g) · a + add(g), fused with a by a 1x1 convolution.

    Args:
        channels: of both.
        kernel: of the convolutions on the guide; the released code has 3, the paper says 1 alone is used on spectra.
        fuse: whether the modulated amplitude is concatenated with the old one and fused (released code).
    """

    def __init__(self, channels: int, *, kernel: int = 3, fuse: bool = True):
        super().__init__()
        self.multiply = Conv(channels, channels, kernel)
        self.add = Conv(channels, channels, kernel)
        self.fuse = Conv(2 * channels, channels) if fuse else None

    def forward(self, amplitude, guide):
        modulated = self.multiply(guide) * amplitude + self.add(guide)
        if self.fuse is None:
            return modulated
        return self.fuse(paddle.concat([amplitude, modulated], axis=1))


class Frequency(nn.Layer):
    """The Fourier branch: amplitude and phase each through 1x1 convolutions, and back.

    Args:
        channels: of the map.
        backend: of the transforms (`ppcore.layers.fourier`).
        raw: without the canonical form; as the released code, whose output depends on rounding.
    """

    def __init__(self, channels: int, *, backend: Backend = "fft", raw: bool = False):
        super().__init__()
        self.backend, self.raw = backend, raw
        self.amplitude = Pointwise(channels)
        self.phase = Pointwise(channels)

    def guide(self, amplitude, phase, given: Pair | None) -> Pair:
        """What the Adjustment block changes; nothing here."""
        return amplitude, phase

    def forward(self, x, given: Pair | None = None):
        amplitude, phase = amplitude_phase(*rfft2(x, self.backend, self.raw))
        amplitude, phase = self.guide(self.amplitude(amplitude), self.phase(phase), given)
        return irfft2(*compose(amplitude, phase), x.shape[-1], self.backend, self.raw)


class GuidedFrequency(Frequency):
    """The Adjustment block's Fourier branch: the low-resolution amplitude modulates, its phase guides.

    Args:
        modulate: whether the amplitude is modulated (`SFT`).
        guide_phase: whether the phase is concatenated with the guide's and fused by a 1x1 convolution.
        kernel, fuse: of the SFT.
    """

    def __init__(
        self,
        channels: int,
        *,
        backend: Backend = "fft",
        raw: bool = False,
        modulate: bool = True,
        guide_phase: bool = True,
        kernel: int = 3,
        fuse: bool = True,
    ):
        super().__init__(channels, backend=backend, raw=raw)
        self.sft = SFT(channels, kernel=kernel, fuse=fuse) if modulate else None
        self.merge_phase = Conv(2 * channels, channels) if guide_phase else None

    def guide(self, amplitude, phase, given):
        if self.sft is not None:
            amplitude = self.sft(amplitude, given[0])
        if self.merge_phase is not None:
            phase = self.merge_phase(paddle.concat([given[1], phase], axis=1))
        return amplitude, phase


class FouSpa(nn.Layer):
    """FouSpa block: spatial and Fourier branch side by side, merged by a 1x1 convolution, plus the input.

    With a `GuidedFrequency` it is the Adjustment block. Without one of the branches (the
    paper's ablations) the merging convolution reads the other alone.

    Args:
        channels: of the map, a multiple of 4.
        frequency: the Fourier branch, or None.
        spatial: the spatial branch: `coupling` (released code), `hin` (one unit, as the paper draws it), None.
    """

    def __init__(self, channels: int, frequency: Frequency | None, *, spatial: Spatial | None = "coupling"):
        super().__init__()
        kinds = {"coupling": ResidualCoupling, "hin": HINUnit}
        self.spatial = kinds[spatial](channels) if spatial else None
        self.frequency = frequency
        branches = (self.spatial is not None) + (frequency is not None)
        self.merge = Conv(branches * channels, channels)

    def forward(self, x, given: Pair | None = None):
        found = []
        if self.spatial is not None:
            found.append(self.spatial(x))
        if self.frequency is not None:
            found.append(self.frequency(x, given))
        return self.merge(paddle.concat(found, axis=1)) + x


class Residual(nn.Layer):
    """conv3x3 - LeakyReLU - conv3x3, plus the input: what the ablations put in a block's place."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = Conv(channels, channels, 3)
        self.conv2 = Conv(channels, channels, 3)

    def forward(self, x, given: Pair | None = None):
        return self.conv2(leaky_relu(self.conv1(x))) + x
