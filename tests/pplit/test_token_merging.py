"""Deformable token merging: its definition in numpy, both ways of computing it, how it starts and what it refuses."""

import lit_reference as reference
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppcore.deploy import Stage
from ppcore.deploy.writers import write_onnx, write_paddle
from ppcore.errors import ConfigError
from pplit.conv_ffn import ConvFFN
from pplit.token_merging import DeformConv2x2, TokenMerging, sampled

# Paddle 3 says so of every batch norm in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance")


def image(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def gathered(layer: DeformConv2x2, x: paddle.Tensor) -> paddle.Tensor:
    """What a graph computes."""
    taps = sampled(x.transpose([0, 2, 3, 1]), layer.conv_offset(x).transpose([0, 2, 3, 1]))
    weight = layer.weight.transpose([2, 3, 1, 0]).reshape([-1, layer.bias.shape[0]])
    return F.linear(taps, weight, layer.bias).transpose([0, 3, 1, 2])


@pytest.mark.parametrize("size", [(4, 6), (2, 2), (2, 8)], ids=str)
@pytest.mark.parametrize("spread", [1.0, 5.0], ids=["a pixel", "out of the map"])
def test_is_the_definition_both_ways(size, spread):
    layer, x = reference.stirred(DeformConv2x2(3, 5)), image(5, 3, *size)  # five: the authors' extension refuses it
    with paddle.no_grad():
        layer.conv_offset.weight.set_value(layer.conv_offset.weight * spread)
        found = [layer(paddle.to_tensor(x)).numpy(), gathered(layer, paddle.to_tensor(x)).numpy()]
        plain = F.conv2d(paddle.to_tensor(x), layer.weight, layer.bias, stride=2).numpy()
    want = np.stack([reference.deformed(reference.weights_of(layer), one.astype(np.float64)) for one in x])
    assert np.abs(plain - want).max() > 0.1, "the offsets move something"
    for way in found:
        np.testing.assert_allclose(way, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_whole_offsets_have_the_derivative_towards_the_next_pixel():
    """Training starts at offset 0, where the reading has a corner; both ways take the same side."""
    layer, found = DeformConv2x2(3, 5), []
    for way in (layer, lambda x: gathered(layer, x)):
        x = paddle.to_tensor(image(2, 3, 4, 6), stop_gradient=False)
        (way(x) * paddle.to_tensor(image(2, 5, 2, 3, seed=2))).sum().backward()
        found.append({"x": x.grad.numpy()} | {n: p.grad.numpy() for n, p in layer.named_parameters()})
        layer.clear_gradients()
    for name, want in found[0].items():
        np.testing.assert_allclose(found[1][name], want, rtol=0, atol=1e-5 * np.abs(want).max(), err_msg=name)
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4) ** 2  # its slopes differ on both sides
    layer = DeformConv2x2(1, 1)
    layer.weight.set_value(np.ones((1, 1, 2, 2), np.float32))
    layer(paddle.to_tensor(x))[0, 0, 0, 0].backward()
    # dx of tap (0, 0) and (1, 0): towards columns 1; dx of (0, 1), (1, 1): towards columns 2.
    np.testing.assert_allclose(layer.conv_offset.bias.grad.numpy()[1::2], [1, 3, 9, 11])


def test_starts_as_a_plain_convolution():
    layer, x = DeformConv2x2(3, 5), paddle.to_tensor(image(2, 3, 4, 6))
    want = F.conv2d(x, layer.weight, layer.bias, stride=2)
    np.testing.assert_allclose(layer(x).numpy(), want.numpy(), rtol=0, atol=1e-6)
    bound = (4 * 3) ** -0.5
    for parameter in (layer.weight, layer.bias):
        assert 0.5 * bound < np.abs(parameter.numpy()).max() <= bound


def test_is_normalised_as_torch_does_in_training_but_for_the_variance_kept():
    layer, x = reference.stirred(TokenMerging(3)), paddle.to_tensor(image(2, 4, 6, 3))
    assert layer.norm._epsilon == 1e-5
    before = layer.norm._variance.numpy().copy()
    y = layer.dconv(x.transpose([0, 3, 1, 2])).numpy().astype(np.float64)
    layer.train()
    out = layer(x)
    assert out.shape == [2, 2, 3, 6]
    np.testing.assert_allclose(
        layer.norm._variance.numpy(), 0.9 * before + 0.1 * y.var((0, 2, 3)), rtol=1e-5
    )  # torch keeps y.var(ddof=1)
    out.square().mean().backward()
    # What the batch norm takes away again.
    assert np.abs(layer.dconv.bias.grad.numpy()).max() < 1e-5 * np.abs(layer.dconv.weight.grad.numpy()).max()


@pytest.mark.parametrize("size", [(3, 4), (4, 3)], ids=str)
def test_refuses_odd_sizes(size):
    with pytest.raises(ConfigError, match="token merging needs an even height and width"):
        TokenMerging(4)(paddle.zeros([1, *size, 4]))


def test_the_convolution_of_the_mlp_comes_before_its_activation():
    layer, x = reference.stirred(ConvFFN(3, 7)), image(2, 4, 5, 3)
    state = reference.weights_of(layer)
    inner = reference.linear(x.astype(np.float64), state, "fc1")
    padded = np.pad(inner, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = state["dwconv.weight"][:, 0]  # [7, 3, 3]
    convolved = state["dwconv.bias"] + sum(
        padded[:, i : i + 4, j : j + 5] * kernel[:, i, j] for i in range(3) for j in range(3)
    )
    active = F.gelu(paddle.to_tensor(convolved)).numpy()
    want = reference.linear(active, state, "fc2")
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_the_same_program_gives_the_same_file(tmp_path):
    """Of a padded map Paddle2ONNX left the value of the border to what was in memory."""
    pytest.importorskip("paddle2onnx")
    onnx = pytest.importorskip("onnx")
    layer = TokenMerging(4)
    layer.eval()
    stage = Stage("m", layer, {"x": (None, 8, 6, 4)}, ("y",))
    write_paddle(stage, tmp_path)
    files = []
    for _ in range(6):
        write_onnx(stage, tmp_path)
        files.append(onnx.load(tmp_path / "m.onnx").SerializeToString(deterministic=True))
    assert len(set(files)) == 1
