"""The depth-wise convolution's two forms are one function."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from pplit.depthwise_conv import SMALL, DepthwiseConv


def both(shape: list[int]) -> list[list[np.ndarray]]:
    """Output and gradients of the layer, and of Paddle's kernel on the same numbers."""
    paddle.seed(0)
    layer, x = DepthwiseConv(shape[-1]), paddle.randn(shape)
    layer.bias.set_value(paddle.randn([shape[-1]]))
    factor = paddle.randn(shape)
    found = []
    for product in (True, False):
        x.stop_gradient = False
        y = layer(x) if product else kernel(layer, x)
        (y * factor).sum().backward()
        found.append([t.numpy() for t in (y, x.grad, layer.weight.grad, layer.bias.grad)])
        x.clear_grad()
        layer.clear_gradients()
    return found


def kernel(layer: DepthwiseConv, x: paddle.Tensor) -> paddle.Tensor:
    channels = x.shape[-1]
    y = F.conv2d(x.transpose([0, 3, 1, 2]), layer.weight, layer.bias, padding=1, groups=channels)
    return y.transpose([0, 2, 3, 1])


@pytest.mark.parametrize(
    "shape", [[2, 4, 4, 6], [3, 7, 5, 4], [2, 1, 3, 2], [2, 2, 1, 2], [5, 8, 8, 3], [2, 9, 9, 3], [1, 4, 4, 2]]
)
def test_equals_the_kernel(shape):
    for ours, theirs in zip(*both(shape), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * abs(theirs).max())


def test_small_maps_of_several_images_take_no_convolution(monkeypatch):
    layer = DepthwiseConv(2)
    monkeypatch.setattr(F, "conv2d", lambda *a, **k: pytest.fail("a convolution"))
    layer(paddle.ones([2, 8, SMALL // 8, 2]))
    with pytest.raises(pytest.fail.Exception):
        layer(paddle.ones([2, 9, SMALL // 8, 2]))
