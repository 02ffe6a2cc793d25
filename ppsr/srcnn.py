"""SRCNN: three convolutions that sharpen an image enlarged by bicubic interpolation (Dong, Loy, He and Tang 2016).

Y alone goes through it. 8,129, 24,513 and 57,281 parameters in its three published forms.
"""

from collections.abc import Sequence
from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppcore.errors import DataError
from ppcore.layers import checks
from ppcore.layers import init as initial
from ppcore.weights import WeightMap
from ppsr.borders import BORDERS, Border, BorderedConv
from ppsr.he_normal import HeNormal
from ppsr.sr_layouts import srcnn_maps

Form = Literal["9-1-5", "9-3-5", "9-5-5"]
FORMS = ("9-1-5", "9-3-5", "9-5-5")


class SRCNN(nn.Layer):
    """SRCNN.

    Input: Y in [0, 1], [B, 1, H, W], already enlarged to the size wanted. Output: the same size, not cut at 0 and 1; in
    the border `valid` each side is `2 · reach` pixels smaller.

    Args:
        form: sizes of the three convolutions.
        border: beyond the edge, in evaluation. `replicate` is the authors' test code, `zero` yjn870's.
        training_border: likewise in training; `valid` is the paper's, and the loss then compares with the middle of the
            target (`ppsr.SquaredError`). None: as `border`.
        widths: channels after the first and the second convolution.
        last_rate: factor of the learning rate of the last convolution; 0.1 in the paper.
        init: `paper` draws all weights from N(0, 0.001), `he` from N(0, 2 / fan_in); biases begin at 0.

    Raises:
        ConfigError: an argument out of its range.
        DataError: the border is `valid`, and an image too small to leave a pixel.
    """

    makes_images = True
    in_chans = 1
    scale = 1
    enlarged_first = True

    def __init__(
        self,
        *,
        form: Form = "9-5-5",
        border: Border = "replicate",
        training_border: Border | None = None,
        widths: Sequence[int] = (64, 32),
        last_rate: float = 1.0,
        init: Literal["paper", "he"] = "paper",
    ):
        super().__init__()
        checks.choice(self, FORMS, form=form)
        checks.choice(self, ("paper", "he"), init=init)
        checks.choice(self, BORDERS, border=border, training_border=training_border or border)
        checks.wholes(self, 1, widths=widths)
        if len(widths) != 2:
            checks.fail(self, "widths", widths, "two whole numbers")
        checks.positive(self, last_rate=last_rate)
        self.border, self.training_border = border, training_border or border
        sizes = [int(size) for size in form.split("-")]
        self.reach = sum(size // 2 for size in sizes)  # pixels on each side that an output pixel depends on
        self.conv1 = _conv(1, widths[0], sizes[0], init)
        self.conv2 = _conv(widths[0], widths[1], sizes[1], init)
        self.conv3 = _conv(widths[1], 1, sizes[2], init, last_rate)

    def forward(self, x):
        border = self.training_border if self.training else self.border
        if border == "valid" and paddle.in_dynamic_mode() and min(x.shape[2:]) <= 2 * self.reach:
            raise DataError(
                f"SRCNN: border valid needs more than {2 * self.reach} pixels a side, got {x.shape[2]}x{x.shape[3]}"
            )
        x = F.relu(self.conv1(x, border))
        x = F.relu(self.conv2(x, border))
        return self.conv3(x, border)

    def export_spec(self):
        """What `ppcore.deploy.export_model` writes (`ppsr.sr_deploy`); not with the border `valid`."""
        from ppsr.sr_deploy import export_spec

        if self.border == "valid":
            checks.fail(self, "border", self.border, "replicate or zero to be exported")
        return export_spec(self)

    def weight_maps(self) -> dict[str, WeightMap]:
        """The layouts `srcnn` (the authors' MATLAB arrays) and `yjn870` (`ppcore.weights`)."""
        return srcnn_maps()


def _conv(inputs: int, outputs: int, size: int, start: str, rate: float = 1.0) -> nn.Conv2D:
    """A convolution with the factor of its learning rate."""
    drawn = initial.Gaussian(1e-3) if start == "paper" else HeNormal()
    weights = paddle.ParamAttr(initializer=drawn, learning_rate=rate)
    return BorderedConv(inputs, outputs, size, weight_attr=weights, bias_attr=biases(rate))


def biases(rate: float = 1.0) -> paddle.ParamAttr:
    """Biases that begin at 0, with a factor of their learning rate."""
    return paddle.ParamAttr(initializer=initial.Zeros(), learning_rate=rate)


def srcnn_915(**options) -> SRCNN:
    """SRCNN (9-1-5), the form trained on the 91 images."""
    return SRCNN(form="9-1-5", **options)


def srcnn_935(**options) -> SRCNN:
    """SRCNN (9-3-5)."""
    return SRCNN(form="9-3-5", **options)


def srcnn_955(**options) -> SRCNN:
    """SRCNN (9-5-5), the paper's best."""
    return SRCNN(form="9-5-5", **options)
