"""The written-out gradient of the layer norm is Paddle's."""

import numpy as np
import paddle
import paddle.nn as nn
import pytest

from ppcore.layers.layer_norm import LayerNorm


def gradients(norm, x, frozen=False):
    norm.weight.stop_gradient = norm.bias.stop_gradient = frozen
    x = paddle.to_tensor(x, stop_gradient=False)
    y = norm(x)
    (y * paddle.to_tensor(np.random.default_rng(1).standard_normal(y.shape).astype(x.numpy().dtype))).sum().backward()
    kept = [x.grad] if frozen else [x.grad, norm.weight.grad, norm.bias.grad]
    return [value.numpy() for value in (y, *kept)]


@pytest.fixture
def pair():
    paddle.seed(0)
    ours, theirs = LayerNorm(24, epsilon=1e-3), nn.LayerNorm(24, epsilon=1e-3)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.set_value(paddle.randn([24]))
        other.set_value(mine)
    return ours, theirs


@pytest.mark.parametrize("shape", [(5, 24), (2, 3, 24), (2, 3, 4, 24), (1, 24)])
@pytest.mark.parametrize("frozen", [False, True])
def test_values_and_gradients(pair, shape, frozen):
    x = 3 + 2 * np.random.default_rng(0).standard_normal(shape).astype("float32")
    for got, want in zip(*(gradients(norm, x, frozen) for norm in pair), strict=True):
        assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


def test_other_types_and_evaluation_are_paddles(pair):
    ours, theirs = pair
    ours.to(dtype="float64")
    theirs.to(dtype="float64")
    x = np.random.default_rng(0).standard_normal((3, 24))
    for got, want in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        np.testing.assert_array_equal(got, want)
    with paddle.no_grad():
        np.testing.assert_array_equal(ours(paddle.to_tensor(x)).numpy(), theirs(paddle.to_tensor(x)).numpy())


def test_state_is_paddles(pair):
    ours, theirs = pair
    assert ours.state_dict().keys() == theirs.state_dict().keys()
