"""A start for PairLIE at the exact decomposition of an image under flat, dim light: X = I, L = 1/8, R = 8 X.

From weights drawn by chance a short training goes astray. N overshoots to black, where its sigmoid hardly passes a gradient;
L passes near 0 on its way down, X / L is then far above 1 and drives R to white, which is another sigmoid's end; and dark
inputs through five small random convolutions give R nearly one gray for hundreds of steps.

A sigmoid ends each network, so the logit that is wanted is approximated by straight pieces: the first convolution makes
ReLU(colour - knot), those after it hand it on, the last adds the changes of slope. Channels that are left over keep their
random weights up to the last convolution.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcore.layers import checks

LIGHT = 1 / 8
COLOURS = 3
DENOISE = ((0.0, 0.004), (0.01, 0.0115), (0.03, 0.031), (0.07, 0.071), (0.15, 0.151), (0.3, 0.3), (0.55, 0.55), (0.8, 0.8), (1.0, 0.985))  # fmt: skip
REFLECTANCE = ((0.0, 0.02), (0.005, 0.04), (0.01, 0.08), (0.02, 0.16), (0.04, 0.32), (0.06, 0.48), (0.08, 0.64), (0.1, 0.8), (0.12, 0.96))  # fmt: skip
NEEDED = COLOURS * (len(DENOISE) - 1)  # channels


def start_of_flat_light(model: Any) -> None:
    """Sets a PairLIE's weights so; N is fixed and not trained, since small steps of Adam's on every weight undo it.

    Raises:
        ConfigError: the network is narrower than `NEEDED` channels.
    """
    width = model.denoise.convs[0].weight.shape[0]
    if width < NEEDED:
        checks.fail(model, "width", width, f"{NEEDED} or more for start: flat_light")
    set_curve(model.denoise.convs, DENOISE)
    set_curve(model.reflectance.convs, REFLECTANCE)
    bias = model.illumination.convs[-1].bias
    bias.set_value(paddle.full_like(bias, math.log(LIGHT / (1 - LIGHT))))
    for parameter in model.denoise.parameters():
        parameter.stop_gradient = True


def set_curve(convs: nn.LayerList, points: Sequence[tuple[float, float]]) -> None:
    """3x3 convolutions, ReLU between them and a sigmoid after, that take each of three colours through a curve.

    Args:
        convs: 3 channels to 3, `3 (len(points) - 1)` or more between.
        points: (colour, what is to come of it), colours from 0 on increasing.
    """
    knots, values = np.array(points).T
    logits = np.log(values / (1 - values))
    changes = np.diff(np.diff(logits) / np.diff(knots), prepend=0.0)
    unit = np.arange(COLOURS * len(changes))
    for place, conv in enumerate(convs):
        weight, bias = conv.weight.numpy(), conv.bias.numpy()
        if place == len(convs) - 1:
            weight[:], bias[:] = 0.0, logits[0]
            weight[unit % COLOURS, unit, 1, 1] = changes.repeat(COLOURS)
        else:
            weight[unit] = 0.0
            weight[unit, unit if place else unit % COLOURS, 1, 1] = 1.0
            bias[unit] = 0.0 if place else -knots[:-1].repeat(COLOURS)
        conv.weight.set_value(paddle.to_tensor(weight))
        conv.bias.set_value(paddle.to_tensor(bias))
