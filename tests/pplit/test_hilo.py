"""HiLo: its definition in numpy, for every alpha, window and size; what the authors' code does with the heads."""

import lit_reference as reference
import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from pplit import HiLo


def image(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(layer, x: np.ndarray, *size: int) -> np.ndarray:
    with paddle.no_grad():
        return layer(paddle.to_tensor(x), *size).numpy()


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("alpha", [0, 0.25, 0.5, 0.9, 1.0])
def test_is_the_definition(alpha, window, size):
    layer, x = reference.stirred(HiLo(12, 4, alpha=alpha, window_size=window, qkv_bias=True)), image(2, *size, 12)
    state = reference.weights_of(layer)
    want = np.stack([reference.hilo(state, one.astype(np.float64), 4, window, alpha) for one in x])
    np.testing.assert_allclose(run(layer, x), want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("options", [dict(qkv_bias=False), dict(qkv_bias=True, qk_scale=0.7)], ids=["no bias", "scale"])
def test_is_the_definition_with_other_options(options):
    layer, x = reference.stirred(HiLo(12, 4, **options)), image(1, 5, 4, 12)
    assert ("l_q.bias" in layer.state_dict()) == options["qkv_bias"]
    assert "l_proj.bias" in layer.state_dict()
    want = reference.hilo(reference.weights_of(layer), x[0].astype(np.float64), 4, 2, 0.5, options.get("qk_scale"))
    np.testing.assert_allclose(run(layer, x)[0], want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_tokens_with_their_grid_are_the_map():
    layer, x = reference.stirred(HiLo(12, 4)), image(2, 3, 5, 12)
    tokens = run(layer, x.reshape(2, 15, 12), 3, 5)
    np.testing.assert_array_equal(tokens, run(layer, x).reshape(2, 15, 12))
    for wrong in ((), (3,), (4, 5)):
        with pytest.raises(ConfigError, match=r"HiLo: got .* give a map"):
            layer(paddle.to_tensor(x.reshape(2, 15, 12)), *wrong)


@pytest.mark.parametrize(
    ("heads", "alpha", "low"),
    [(12, 0.9, 10), (16, 0.9, 14), (3, 0.9, 2), (8, 0.1, 0), (16, 0.05, 0), (100, 0.29, 28), (100, 0.57, 56)],
)
def test_the_share_of_heads_is_rounded_down_as_the_authors_do(heads, alpha, low):
    layer = HiLo(heads, heads, alpha=alpha)
    assert (layer.l_heads, layer.h_heads) == (low, heads - low)


@pytest.mark.parametrize(("alpha", "count"), [(0, 4224), (0.25, 3840), (0.5, 3712), (0.9, 4000), (1, 4224)])
def test_has_fewer_parameters_where_the_heads_are_mixed(alpha, count):
    assert sum(p.size for p in HiLo(32, 8, alpha=alpha, qkv_bias=True).parameters()) == count


def test_parameters_are_the_authors_in_their_order():
    parts = [name.partition(".")[0] for name in HiLo(8, 2).state_dict() if name.endswith("weight")]
    assert parts == ["l_q", "l_kv", "l_proj", "h_qkv", "h_proj"]
    assert {name.partition(".")[0] for name in HiLo(8, 2, alpha=0).state_dict()} == {"h_qkv", "h_proj"}
    assert {name.partition(".")[0] for name in HiLo(8, 2, alpha=1).state_dict()} == {"l_q", "l_kv", "l_proj"}


def test_a_window_of_one_is_full_attention_whatever_alpha():
    x, found = image(1, 3, 4, 12), []
    for alpha in (0, 0.25, 0.5, 1):
        layer = reference.stirred(HiLo(12, 4, alpha=alpha, window_size=1))
        assert layer.h_heads == 0
        found.append(run(layer, x))
        np.testing.assert_array_equal(found[0], found[-1])


def test_high_frequencies_come_first_and_stay_in_their_window():
    layer, x = reference.stirred(HiLo(12, 4, alpha=0.5)), image(1, 4, 4, 12)
    other = x.copy()
    other[0, 0, 0] += 1
    moved = np.abs(run(layer, other) - run(layer, x))[0]
    assert (moved[:2, :2, : layer.h_dim].max(-1) > 1e-4).all(), "Hi-Fi sees its window"
    assert moved[2:, :, : layer.h_dim].max() == moved[:, 2:, : layer.h_dim].max() == 0, "and no other"
    assert (moved[:, :, layer.h_dim :].max(-1) > 1e-5).all(), "Lo-Fi sees all"


def test_the_last_row_of_an_odd_map_is_a_key_at_alpha_one():
    """The authors' code for classification leaves it out without a word."""
    layer, x = reference.stirred(HiLo(12, 4, alpha=1)), image(1, 7, 9, 12)
    other = x.copy()
    other[0, 6] += 1
    assert np.abs(run(layer, other) - run(layer, x))[0, :6].max() > 1e-3


def test_padded_positions_are_keys_and_are_averaged():
    """Cutting the map where it ends would be another function."""
    layer, x = reference.stirred(HiLo(12, 4, qkv_bias=True)), image(1, 3, 4, 12)
    padded = np.concatenate([x, np.zeros((1, 1, 4, 12), np.float32)], 1)
    np.testing.assert_allclose(run(layer, x), run(layer, padded)[:, :3], rtol=0, atol=1e-6)


def test_keys_biases_move_nothing_and_have_no_gradient():
    layer, x = reference.stirred(HiLo(12, 4, qkv_bias=True)), paddle.to_tensor(image(1, 4, 4, 12))
    (layer(x) * paddle.to_tensor(image(1, 4, 4, 12, seed=2))).sum().backward()
    low, high = layer.l_kv.bias.grad.numpy(), layer.h_qkv.bias.grad.numpy()
    assert np.abs(low[: layer.l_dim]).max() < 1e-5 * np.abs(low).max()
    assert np.abs(high[layer.h_dim : 2 * layer.h_dim]).max() < 1e-5 * np.abs(high).max()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_attention_maps_are_shares(alpha):
    layer = reference.stirred(HiLo(12, 4, alpha=alpha))
    high, low = layer.attention_maps(paddle.to_tensor(image(2, 3, 6, 12)))
    shapes = {0: ([2, 6, 4, 4, 4], None), 0.5: ([2, 6, 2, 4, 4], [2, 2, 24, 6]), 1: (None, [2, 4, 24, 6])}[alpha]
    for found, shape in zip((high, low), shapes, strict=True):
        assert (found is None) == (shape is None)
        if found is not None:
            assert list(found.shape) == shape
            np.testing.assert_allclose(found.sum(-1).numpy(), 1, atol=1e-6)


def test_multiply_adds_are_the_authors():
    layer = HiLo(384, 12)
    assert layer.flops(14, 14) == 83_467_776
    assert layer.flops(13, 14) == layer.flops(14, 13) == layer.flops(14, 14), "rounded up to whole windows"
    assert sum(p.size for p in layer.parameters()) == 516_480


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(alpha=1.1), "alpha is 1.1, but must be a number from 0 to 1"),
        (dict(alpha=-0.1), "alpha is -0.1"),
        (dict(alpha=True), "alpha is True"),
        (dict(num_heads=5), "num_heads is 5, but must be a divisor"),
        (dict(window_size=0), "window_size is 0"),
        (dict(qk_scale=0), "qk_scale is 0, but must be a number above 0"),
    ],
)
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ConfigError, match=said):
        HiLo(12, **{"num_heads": 4, **wrong})


def test_no_dropout_that_would_be_ignored():
    """The authors' layer takes both and uses neither."""
    for name in ("attn_drop", "proj_drop"):
        with pytest.raises(TypeError):
            HiLo(12, 4, **{name: 0.1})
