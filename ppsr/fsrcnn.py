"""FSRCNN: SRCNN at the small size, enlarged by a transposed convolution at its end (Dong, Loy and Tang, ECCV 2016)."""

from typing import Literal

import paddle
from paddle import nn

from ppcore.layers import checks, conv2d_transpose, init
from ppcore.weights import WeightMap
from ppsr.borders import BorderedConv, replicated
from ppsr.he_normal import HeNormal
from ppsr.sr_layouts import fsrcnn_maps
from ppsr.srcnn import biases

KERNEL = 9  # of the transposed convolution


class FSRCNN(nn.Layer):
    """FSRCNN(d, s, m): 5x5 to d channels, 1x1 to s, m times 3x3, 1x1 to d, each with PReLU, and a transposed 9x9 to Y.

    Input: Y in [0, 1], [B, 1, H, W], the small image. Output: [B, 1, scale·H, scale·W], not cut at 0 and 1.

    Args:
        scale: how many times larger, from 2 on.
        d: channels of the features.
        s: channels of the mapping.
        m: convolutions of the mapping.
        slopes: PReLU slopes one a `layer` (the authors' files; 12,644 parameters) or one a `channel` (yjn870's; 12,809).
            They may be negative or above 1.
        border: `replicate` repeats the edge at every convolution and one small pixel before the transposed one, as the
            authors' test code does; `zero` goes on with zeros (yjn870).
        training_border: likewise in training; the authors' is `zero`. None: as `border`.
        shift: the transposed kernel of the small pixel i stands on the large pixel scale·i + shift. None: as the
            authors' files need it, 1 at x3 and else 0; yjn870's have 0 throughout.
        last_rate: factor of the learning rate of the transposed convolution; 0.1 in the paper.
        trained: `last` trains the transposed convolution alone, which turns a network of one scale into one of another.

    Raises:
        ConfigError: an argument out of its range.
    """

    makes_images = True
    in_chans = 1

    def __init__(
        self,
        *,
        scale: int,
        d: int = 56,
        s: int = 12,
        m: int = 4,
        slopes: Literal["layer", "channel"] = "layer",
        border: Literal["replicate", "zero"] = "replicate",
        training_border: Literal["replicate", "zero"] | None = None,
        shift: int | None = None,
        last_rate: float = 1.0,
        trained: Literal["all", "last"] = "all",
    ):
        super().__init__()
        checks.whole(self, 2, scale=scale)
        checks.whole(self, 1, d=d, s=s, m=m)
        checks.choice(self, ("layer", "channel"), slopes=slopes)
        checks.choice(self, ("replicate", "zero"), border=border, training_border=training_border or border)
        checks.choice(self, ("all", "last"), trained=trained)
        checks.positive(self, last_rate=last_rate)
        checks.whole(self, 0, optional=True, shift=shift)
        if shift is not None and shift >= scale:
            checks.fail(self, "shift", shift, f"less than the scale, {scale}")
        self.scale, self.border, self.training_border = scale, border, training_border or border
        self.shift = int(scale == 3) if shift is None else shift
        self.cut = KERNEL // 2 - self.shift  # rows and columns before the first pixel that is kept
        sizes = [(1, d, 5), (d, s, 1), *[(s, s, 3)] * m, (s, d, 1)]
        self.convs = nn.LayerList([_conv(*size) for size in sizes])
        self.slopes = nn.LayerList([nn.PReLU(outputs if slopes == "channel" else 1) for _, outputs, _ in sizes])
        weights = paddle.ParamAttr(initializer=init.Gaussian(1e-3), learning_rate=last_rate)
        self.deconv = Transposed(d, 1, KERNEL, stride=scale, weight_attr=weights, bias_attr=biases(last_rate))
        # Small pixels on each side that an output pixel depends on: of the convolutions, and of the transposed one.
        beyond = max((KERNEL // 2 + self.shift) // scale, (KERNEL // 2 - 1 - self.shift) // scale + 1)
        self.reach = 2 + m + beyond
        if trained == "last":
            for parameter in [*self.convs.parameters(), *self.slopes.parameters()]:
                parameter.stop_gradient = True

    def forward(self, x):
        border = self.training_border if self.training else self.border
        for conv, slope in zip(self.convs, self.slopes):  # noqa: B905  (to_static knows no strict)
            x = slope(conv(x, border))
        return self.enlarged(x, border)

    def enlarged(self, x, border):
        """The transposed convolution of features [B, d, H, W]: [B, 1, scale·H, scale·W]."""
        height, width = x.shape[2] * self.scale, x.shape[3] * self.scale
        crop = self.cut
        if border == "replicate":
            x, crop = replicated(x, 1), crop + self.scale
        missing = self.scale - 1 - 2 * self.shift  # rows at the end of what the strides give
        y = self.deconv(x, crop, max(missing, 0))
        return y[:, :, :height, :width] if missing < 0 else y

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppsr.sr_deploy`)."""
        from ppsr.deployed_fsrcnn import DeployedFSRCNN
        from ppsr.sr_deploy import export_spec

        return export_spec(self, DeployedFSRCNN(self))

    def weight_maps(self) -> dict[str, WeightMap]:
        """The layouts `fsrcnn` (the authors' MATLAB arrays) and `yjn870` (`ppcore.weights`)."""
        return fsrcnn_maps()


class Transposed(nn.Conv2DTranspose):
    """A transposed convolution, called with the rows and columns to cut off at the beginning and to add at the end."""

    def forward(self, x, cut, added):
        return conv2d_transpose(x, self.weight, self.bias, stride=self._stride, padding=cut, output_padding=added)


def _conv(inputs: int, outputs: int, size: int) -> nn.Conv2D:
    return BorderedConv(inputs, outputs, size, weight_attr=init.attr(HeNormal()), bias_attr=biases())


def fsrcnn(scale: int = 3, **options) -> FSRCNN:
    """FSRCNN (56, 12, 4), the paper's."""
    return FSRCNN(scale=scale, **options)


def fsrcnn_s(scale: int = 3, **options) -> FSRCNN:
    """FSRCNN-s (32, 5, 1), the paper's fast one: 4,016 parameters."""
    return FSRCNN(scale=scale, **{"d": 32, "s": 5, "m": 1} | options)
