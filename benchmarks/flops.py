"""Multiply-adds of a network, counted from its architecture: what its layers were given, not what an engine makes of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn as nn

from ppcore.layers import Attention
from ppcore.layers.window_attention import WindowAttention
from ppcore.model import traits
from pplit.hilo import HiLo
from pplit.token_merging import DeformConv2x2


def multiply_adds(model: nn.Layer, shape: Sequence[int]) -> int:
    """Multiply-adds of a forward pass: convolutions, linear layers and the two products of attention.

    Norms, activations, additions, resampling and Fourier transforms are not counted. A floating-point operation is half a
    multiply-add: FLOP = 2 · multiply-adds.

    Args:
        model: of layers of Paddle and of `ppcore.layers`; it is called once, in evaluation mode.
        shape: of the input, [B, C, H, W].
    """
    total = 0

    def counting(count: Callable[[nn.Layer, Any, Any], int]) -> Callable[..., None]:
        def hook(layer: nn.Layer, inputs: Any, output: Any) -> None:
            nonlocal total
            total += count(layer, inputs, output)

        return hook

    hooks = [
        layer.register_forward_post_hook(counting(count))
        for layer in model.sublayers(include_self=True)
        for kind, count in COUNTS.items()
        if isinstance(layer, kind)
    ]
    training = model.training
    model.eval()
    try:
        with paddle.no_grad():
            model(paddle.zeros(list(shape)))
    finally:
        for hook in hooks:
            hook.remove()
        if training:
            model.train()
    return total


def image_flop(model: nn.Layer, height: int, width: int, small: int = 128) -> float:
    """FLOP for one image of any size, for a network whose work grows linearly with height and with width.

    Convolutions do, also those without padding and those of spectra, which are W // 2 + 1 wide. Four small images give it.

    Args:
        model: a network that makes images.
        height: of the image, a multiple of what the network pads to.
        width: of the image, a multiple of what the network pads to.
        small: height and width of the smallest of the images that are computed: such a multiple.
    """
    low, high = (
        [multiply_adds(model, (1, traits(model).in_chans, down, across)) for across in (small, 2 * small)]
        for down in (small, 2 * small)
    )
    at_width = [narrow + (wide - narrow) * (width - small) / small for narrow, wide in (low, high)]
    return 2 * (at_width[0] + (at_width[1] - at_width[0]) * (height - small) / small)


def _linear(layer: nn.Linear, inputs: Any, output: Any) -> int:
    return int(np.prod(output.shape)) * layer.weight.shape[0]


def _convolution(layer: nn.Conv2D, inputs: Any, output: Any) -> int:
    return int(np.prod(output.shape)) * int(np.prod(layer.weight.shape[1:]))  # weight [out, in / groups, kh, kw]


def _transposed_convolution(layer: nn.Conv2DTranspose, inputs: Any, output: Any) -> int:
    return int(np.prod(inputs[0].shape)) * int(np.prod(layer.weight.shape[1:]))  # weight [in, out / groups, kh, kw]


def _attention(layer: Attention, inputs: Any, output: Any) -> int:
    """q·kᵀ and its product with v; the layer's projections count as linear layers."""
    batch, tokens, _ = inputs[0].shape
    return 2 * batch * tokens**2 * layer.inner_dim


def _window_attention(layer: WindowAttention, inputs: Any, output: Any) -> int:
    """The same within each window."""
    windows, tokens, dim = inputs[0].shape
    return 2 * windows * tokens**2 * dim


def _hilo(layer: HiLo, inputs: Any, output: Any) -> int:
    """Both paths' products, of maps of whole windows."""
    places, area = int(np.prod(inputs[0].shape[:-1])), layer.window_size**2
    keys = int(np.prod(inputs[0].shape[1:-1])) // area  # of Lo-Fi, in an image
    return 2 * places * (area * layer.h_dim + keys * layer.l_dim)


def _deformable_convolution(layer: DeformConv2x2, inputs: Any, output: Any) -> int:
    """The product with what was sampled; sampling is not counted, as no resampling is."""
    return int(np.prod(output.shape)) * int(np.prod(layer.weight.shape[1:]))


COUNTS: dict[type, Callable[[Any, Any, Any], int]] = {
    nn.Linear: _linear,
    nn.Conv2D: _convolution,
    nn.Conv2DTranspose: _transposed_convolution,
    Attention: _attention,
    WindowAttention: _window_attention,
    HiLo: _hilo,
    DeformConv2x2: _deformable_convolution,
}
