"""UHDFour: Fourier embedding for ultra-high-definition low-light enhancement (Li et al., ICLR 2023, arXiv 2302.11831).

One class, two variants: `uhdfour` works on maps of an eighth of the size (UHD-LL), `uhdfour_lol` of
a half (LOL). Only parameters that the forward pass uses are built: 17,537,370 and 15,899,306.
"""

from collections.abc import Sequence
from typing import Literal

import paddle
import paddle.nn as nn
import paddle.nn.functional as F

from ppcore.layers import reflect_to
from ppcore.layers.bilinear import reduce, resize_as
from ppcore.layers.fourier import Backend, amplitude_phase, rfft2
from ppcore.weights import WeightMap
from ppuhdfour.arguments import check_arguments
from ppuhdfour.blocks import Conv, FouSpa, Frequency, GuidedFrequency, Residual, Spatial
from ppuhdfour.weights import weight_maps

Block = Literal["fouspa", "residual"]


class LowNet(nn.Layer):
    """LRNet: FouSpa blocks on three levels, and the amplitude and phase that guide the high resolution.

    Args:
        in_chans: channels of the reduced input.
        out_chans: channels of the guides.
        widths: channels of the three levels, multiples of 4.
        block: makes a block of so many channels.
        last_block: whether a block follows the second upsampling (five in the released code, four in the paper).
        down_kernel: of the strided convolutions between levels, 2 (code) or 4 (paper).
        amplitude_conv, phase_conv: whether a 1x1 convolution follows this guide (code).
        backend, raw: of the transform that makes the guides.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        widths: Sequence[int],
        block,
        *,
        last_block: bool,
        down_kernel: int,
        amplitude_conv: bool,
        phase_conv: bool,
        backend: Backend,
        raw: bool,
    ):
        super().__init__()
        top, middle, bottom = widths
        down = {"stride": 2, "padding": (down_kernel - 2) // 2}
        self.backend, self.raw = backend, raw
        self.conv_in = Conv(in_chans, top)
        self.block1 = block(top)
        self.down1 = Conv(top, middle, down_kernel, **down)
        self.block2 = block(middle)
        self.down2 = Conv(middle, bottom, down_kernel, **down)
        self.block3 = block(bottom)
        self.up1 = Conv(bottom + middle, middle)
        self.block4 = block(middle)
        self.up2 = Conv(middle + top, top)
        self.block5 = block(top) if last_block else None
        self.conv_out = Conv(top, out_chans)
        self.to_image = Conv(out_chans, 3)
        self.amplitude = Conv(out_chans, out_chans) if amplitude_conv else None
        self.phase = Conv(out_chans, out_chans) if phase_conv else None

    def forward(self, x):
        """Returns y_low [B, 3, h, w], A_r and P_r [B, out_chans, h, w//2 + 1]."""
        top = self.block1(self.conv_in(x))
        middle = self.block2(self.down1(top))
        z = self.block3(self.down2(middle))
        z = self.block4(self.up1(paddle.concat([resize_as(z, middle), middle], axis=1)))
        z = self.up2(paddle.concat([resize_as(z, top), top], axis=1))
        if self.block5 is not None:
            z = self.block5(z)
        z = self.conv_out(z)
        amplitude, phase = amplitude_phase(*rfft2(z, self.backend, self.raw))
        if self.amplitude is not None:
            amplitude = self.amplitude(amplitude)
        if self.phase is not None:
            phase = self.phase(phase)
        return self.to_image(z), amplitude, phase


class HighNet(nn.Layer):
    """HRNet: the Adjustment block on the unshuffled image, then fusion with y_low at full size.

    Args:
        scale: of the pixel shuffle.
        adjust: the Adjustment block, of 3·scale² channels.
        refine: blocks after it (two in the LOL network).
        fusion: channels of the fusion.
        tail: number of 3x3 convolutions that end it.
        concat_low: whether y_low is fused (an ablation leaves it out).
    """

    def __init__(
        self, scale: int, adjust: nn.Layer, refine: Sequence[nn.Layer], *, fusion: int, tail: int, concat_low: bool
    ):
        super().__init__()
        self.scale, self.concat_low = scale, concat_low
        self.adjust = adjust
        self.refine = nn.LayerList(refine)
        self.conv_out = Conv(3, 3, 3)
        self.fuse = Conv(6 if concat_low else 3, fusion)
        self.tail = nn.LayerList([*(Conv(fusion, fusion, 3) for _ in range(tail - 1)), Conv(fusion, 3, 3)])

    def pass_through(self) -> None:
        """Sets the weights so that the image comes out nearly as it went in."""
        if isinstance(self.adjust, FouSpa):
            self.adjust.merge.weight.set_value(self.adjust.merge.weight * 0.1)
        for conv in (self.conv_out, self.fuse, *self.tail):
            weight, bias = conv.weight.numpy(), conv.bias.numpy()
            weight[:3], bias[:3] = 0, 0  # other channels carry no colour at first and stay as drawn
            middle, first = weight.shape[2] // 2, weight.shape[1] - 3 if conv is self.fuse else 0
            weight[range(3), range(first, first + 3), middle, middle] = 1
            conv.weight.set_value(weight)
            conv.bias.set_value(bias)

    def features(self, x, amplitude, phase):
        """Maps [B, 3·scale², h, w] of an image [B, 3, h·scale, w·scale] under the guides."""
        z = self.adjust(F.pixel_unshuffle(x, self.scale), (amplitude, phase))
        for block in self.refine:
            z = block(z)
        return z

    def forward(self, y_low, features):
        """The enhanced image [B, 3, H, W]."""
        z = self.conv_out(F.pixel_shuffle(features, self.scale))
        if self.concat_low:
            z = paddle.concat([resize_as(y_low, z), z], axis=1)
        z = self.fuse(z)
        for conv in self.tail:
            z = conv(z)
        return z


class UHDFour(nn.Layer):
    """UHDFour.

    Input: RGB in [0, 1], [B, 3, H, W], any H, W >= 1 (extended by reflection to a size the levels can
    halve, cut back at the end). Output: the enhanced image of the same size, not clamped. In training
    the pair (y, y_low) with y_low [B, 3, ⌈H/scale⌉, ⌈W/scale⌉], the low-resolution result.

    Args:
        scale: 8 (UHD-LL) or 2 (LOL); any even number.
        extract: channels read from the reduced image.
        widths: channels of the three low-resolution levels, multiples of 4.
        refine: FouSpa blocks after the Adjustment block.
        fusion: channels of the final fusion.
        tail: 3x3 convolutions at full size after it.
        paper: the text instead of the released code where they differ: one HIN unit instead of a
            coupling of three, four blocks in LRNet instead of five (the last one goes; the text does not
            say which), 4x4 strided convolutions, only 1x1 convolutions on spectra, an affine SFT without
            fusion, guides without convolutions of their own. The text's "16 channels" are not followed:
            its parameter count, 17.537M, is that of the code's widths.
        block: `residual` puts a residual block in every FouSpa block's place.
        spatial, fourier: whether FouSpa blocks have these branches.
        adjust: `residual` puts a residual block in the Adjustment block's place.
        adjust_spatial: whether the Adjustment block has a spatial branch.
        modulate_amplitude: whether A_r modulates the amplitude.
        guide_phase: whether P_r guides the phase.
        concat_low: whether y_low is fused into the result. (These eight are the paper's ablations.)
        init: `torch` (the default of torch's layers, as released), or `identity`: the network starts nearly as
            y = x, from where a training of minutes gets further.
        backend: of the Fourier transforms.
        raw: without the canonical form of `ppcore.layers.fourier`, as the released code.

    Raises:
        ConfigError: an argument out of its range, or arguments that do not fit together.
    """

    makes_images = True

    def __init__(
        self,
        *,
        scale: int = 8,
        extract: int = 8,
        widths: Sequence[int] = (192, 384, 576),
        refine: int = 0,
        fusion: int = 16,
        tail: int = 1,
        paper: bool = False,
        block: Block = "fouspa",
        spatial: bool = True,
        fourier: bool = True,
        adjust: Block = "fouspa",
        adjust_spatial: bool = True,
        modulate_amplitude: bool = True,
        guide_phase: bool = True,
        concat_low: bool = True,
        init: Literal["torch", "identity"] = "torch",
        backend: Backend = "fft",
        raw: bool = False,
    ):
        super().__init__()
        check_arguments(self, locals())
        channels = 3 * scale**2
        kind: Spatial = "hin" if paper else "coupling"

        def fouspa(width: int) -> nn.Layer:
            if block == "residual":
                return Residual(width)
            frequency = Frequency(width, backend=backend, raw=raw) if fourier else None
            return FouSpa(width, frequency, spatial=kind if spatial else None)

        def adjustment() -> nn.Layer:
            if adjust == "residual":
                return Residual(channels)
            guided = GuidedFrequency(
                channels, backend=backend, raw=raw, modulate=modulate_amplitude, guide_phase=guide_phase,
                kernel=1 if paper else 3, fuse=not paper,
            )  # fmt: skip
            return FouSpa(channels, guided, spatial=kind if adjust_spatial else None)

        self.factor = scale
        self.tail_reach = 1 + tail  # pixels that its 3x3 convolutions see on each side
        self.extract = Conv(3, extract)
        guided = adjust == "fouspa" and not paper  # a guide that nothing reads gets no convolution
        self.low = LowNet(
            extract, channels, widths, fouspa, last_block=not paper, down_kernel=4 if paper else 2,
            amplitude_conv=guided and modulate_amplitude, phase_conv=guided and guide_phase, backend=backend, raw=raw,
        )  # fmt: skip
        self.high = HighNet(
            scale, adjustment(), [fouspa(channels) for _ in range(refine)],
            fusion=fusion, tail=tail, concat_low=concat_low,
        )  # fmt: skip
        if init == "identity":
            self.high.pass_through()

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size an image is extended to: multiples of `scale` whose lowest level has more than one pixel."""
        least = 4 * self.factor  # two levels down it is one pixel
        height, width = (max(-(-size // self.factor) * self.factor, least) for size in (height, width))
        if height < 2 * least and width < 2 * least:
            return 2 * least, 2 * least
        return height, width

    def trunk(self, x):
        """All that is global: y_low [B, 3, h, w] and features [B, 3·scale², h, w] of a padded image."""
        # The released code applies the 1x1 convolution before reducing; both are linear, so they commute.
        y_low, amplitude, phase = self.low(self.extract(reduce(x, self.factor)))
        return y_low, self.high.features(x, amplitude, phase)

    def tail(self, y_low, features):
        """What is local: the padded image's result from `trunk`'s, each pixel from a small neighbourhood."""
        return self.high(y_low, features)

    def forward(self, x):
        height, width = x.shape[2], x.shape[3]
        y_low, features = self.trunk(reflect_to(x, *self.padded_size(height, width)))
        y = self.tail(y_low, features)[:, :, :height, :width]
        if not self.training:
            return y
        return y, y_low[:, :, : -(-height // self.factor), : -(-width // self.factor)]

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppuhdfour.deploy`)."""
        from ppuhdfour.deploy import export_spec

        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The official layout (`ppcore.weights`)."""
        return weight_maps()


def uhdfour(**kwargs) -> UHDFour:
    """UHDFour for UHD-LL: maps of an eighth of the size, 17,537,370 parameters (the paper's 17.537M)."""
    return UHDFour(**kwargs)


def uhdfour_lol(**kwargs) -> UHDFour:
    """UHDFour for LOL: maps of a half of the size, 15,899,306 parameters."""
    return UHDFour(**{"scale": 2, "refine": 2, "fusion": 32, "tail": 3} | kwargs)
