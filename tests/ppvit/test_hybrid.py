"""Hybrids: counts of the reference table, the convolution's definition, padding."""

import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from ppcore.layers.std_conv import StdConv2D, group_norm
from ppvit import hybrid
from ppvit.vit import VisionTransformer

# vit_jax's models_test.py at 224 px; timm's counts at 384.
PARAMETERS = {
    "vit_tiny_r_s16_p8_224": 6_337_704,
    "vit_tiny_r_s16_p8_384": 6_355_944,
    "vit_small_r26_s32_224": 36_431_912,
    "vit_small_r26_s32_384": 36_468_392,
    "vit_base_r50_s16_224": 98_659_112,
    "vit_base_r50_s16_384": 98_950_952,
    "vit_large_r50_s32_224": 328_994_856,
    "vit_large_r50_s32_384": 329_092_136,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    with paddle.LazyGuard():  # shapes alone: no memory, no drawing
        model = getattr(hybrid, name)()
    assert sum(p.size for p in model.parameters()) == PARAMETERS[name]


def test_builders_take_the_models_arguments_and_refuse_others():
    model = hybrid.vit_tiny_r_s16_p8_224(num_classes=7, depth=1, img_size=64, in_chans=1, conv_norm="jax")
    assert isinstance(model, VisionTransformer)
    assert model(paddle.randn([2, 1, 64, 64])).shape == [2, 7]
    with pytest.raises(TypeError):
        hybrid.vit_tiny_r_s16_p8_224(conv_nrom="jax")
    with pytest.raises(TypeError):
        hybrid.vit_tiny_r_s16_p8_224(224)


def test_a_feature_map_that_is_not_whole_patches():
    with pytest.raises(ConfigError, match="feature map"):
        hybrid.vit_tiny_r_s16_p8_224(img_size=100, depth=1)


@pytest.mark.parametrize("conv_norm", ["timm", "jax"])
def test_standardisation_is_the_formula(conv_norm):
    conv = StdConv2D(3, 8, 3, conv_norm=conv_norm)
    conv.weight.set_value(np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32) * 2e-3)
    w = conv.weight.numpy().astype(np.float64)
    axes = (1, 2, 3)
    mean, var = w.mean(axes, keepdims=True), w.var(axes, keepdims=True)
    want = (w - mean) / (np.sqrt(var + 1e-8) if conv_norm == "timm" else np.sqrt(var) + 1e-5)
    np.testing.assert_allclose(conv.standardised().numpy(), want, rtol=2e-5, atol=2e-5)
    other = StdConv2D(3, 8, 3, conv_norm="jax" if conv_norm == "timm" else "timm")
    other.weight.set_value(conv.weight)
    # At this small spread the conventions differ visibly: neither may stand in for the other.
    assert np.abs(other.standardised().numpy() - want).max() > 1e-3


def test_standardisation_follows_a_changed_weight_in_evaluation():
    conv = StdConv2D(3, 8, 3)
    conv.eval()
    x = paddle.randn([1, 3, 6, 6])
    before = conv(x).numpy()
    with paddle.no_grad():
        conv.weight.set_value(paddle.randn(conv.weight.shape))
    assert np.abs(conv(x).numpy() - before).max() > 0.1


def test_standardisation_has_the_formulas_gradient():
    for conv_norm in ("timm", "jax"):
        conv = StdConv2D(2, 4, 3, conv_norm=conv_norm)
        rng = np.random.default_rng(1)
        pull = rng.standard_normal((4, 2, 3, 3)).astype(np.float32)
        (conv.standardised() * paddle.to_tensor(pull)).sum().backward()
        w, step, k = conv.weight.numpy().astype(np.float64), 1e-5, (1, 1, 2, 0)

        def total(w, pull=pull, conv_norm=conv_norm):
            c = w - w.mean((1, 2, 3), keepdims=True)
            var = (c**2).mean((1, 2, 3), keepdims=True)
            return (c / (np.sqrt(var + 1e-8) if conv_norm == "timm" else np.sqrt(var) + 1e-5) * pull).sum()

        up, down = w.copy(), w.copy()
        up[k] += step
        down[k] -= step
        numeric = (total(up) - total(down)) / (2 * step)
        assert abs(float(conv.weight.grad.numpy()[k]) - numeric) < 1e-3 * abs(numeric) + 1e-4


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 7, 2), (9, 3, 2), (8, 3, 2), (7, 1, 2), (6, 3, 1)])
def test_same_padding_has_its_larger_half_after(size, kernel, stride):
    conv = StdConv2D(1, 2, kernel, stride=stride)
    x = np.random.default_rng(2).standard_normal((1, 1, size, size)).astype(np.float32)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    weight = conv.standardised().numpy()
    want = np.zeros((1, 2, out, out), np.float32)
    for i in range(out):
        for j in range(out):
            window = padded[0, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            want[0, :, i, j] = (weight * window).sum((1, 2, 3))
    np.testing.assert_allclose(conv(paddle.to_tensor(x)).numpy(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("conv_norm", "eps"), [("timm", 1e-5), ("jax", 1e-6)])
def test_group_norm_epsilon(conv_norm, eps):
    x = np.random.default_rng(3).standard_normal((2, 64, 3, 3)).astype(np.float32) * 3e-3
    groups = x.reshape(2, 32, -1).astype(np.float64)
    want = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + eps)
    got = group_norm(64, conv_norm)(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(got.reshape(groups.shape), want, rtol=1e-4, atol=1e-4)


def test_a_fresh_unit_is_its_shortcut():
    unit = hybrid.Bottleneck(256, 256, 1, first=False, conv_norm="timm")
    x = paddle.nn.functional.relu(paddle.randn([1, 256, 4, 4]))
    np.testing.assert_array_equal(unit(x).numpy(), x.numpy())
