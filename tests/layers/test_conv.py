"""Convolutions with their bias added as a matrix and a column: Paddle's values and gradients, its keys and its exports."""

import numpy as np
import paddle
import paddle.nn as nn
import pytest

from ppcore.layers import Conv2D, Conv2DTranspose

CASES = [
    (Conv2D, nn.Conv2D, dict(kernel_size=3, padding=1)),
    (Conv2D, nn.Conv2D, dict(kernel_size=5, stride=2, padding=2)),
    (Conv2D, nn.Conv2D, dict(kernel_size=3, padding="SAME", groups=2)),
    (Conv2D, nn.Conv2D, dict(kernel_size=3, dilation=2)),
    (Conv2D, nn.Conv2D, dict(kernel_size=1, bias_attr=False)),
    (Conv2DTranspose, nn.Conv2DTranspose, dict(kernel_size=5)),
    (Conv2DTranspose, nn.Conv2DTranspose, dict(kernel_size=9, stride=3, padding=4, output_padding=2)),
]


@pytest.mark.parametrize(("ours", "paddles", "options"), CASES)
def test_is_paddles_own(ours, paddles, options):
    paddle.seed(0)
    layer, reference = ours(4, 6, **options), paddles(4, 6, **options)
    reference.set_state_dict(layer.state_dict())
    if layer.bias is not None:
        for each in (layer, reference):
            each.bias.set_value(paddle.arange(6, dtype="float32") - 2.5)
    assert layer.state_dict().keys() == reference.state_dict().keys()
    found = []
    for each in (layer, reference):
        x = paddle.linspace(-1, 1, 2 * 4 * 9 * 11).sin().reshape([2, 4, 9, 11])
        x.stop_gradient = False
        y = each(x)
        (y * paddle.linspace(0, 3, y.size).reshape(y.shape)).sum().backward()
        found.append([y, x.grad, *(parameter.grad for parameter in each.parameters())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ours", [Conv2D, Conv2DTranspose])
def test_a_traced_network_takes_any_size(ours, tmp_path):
    layer = ours(3, 2, 3, padding=1)
    layer.bias.set_value(paddle.to_tensor([0.5, -2.0]))
    layer.eval()
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    paddle.jit.save(layer, str(tmp_path / "layer"), input_spec=spec)
    loaded = paddle.jit.load(str(tmp_path / "layer"))
    for size in ((1, 3, 5, 7), (2, 3, 8, 6)):
        x = paddle.rand(size)
        np.testing.assert_allclose(loaded(x).numpy(), layer(x).numpy(), rtol=1e-5, atol=1e-5)
