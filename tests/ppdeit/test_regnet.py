"""RegNet, DeiT's teacher: published size, definitions of its parts, weights both ways."""

import math

import numpy as np
import paddle
import pytest

import ppcore.weights as weights
from ppcore.config import components
from ppcore.errors import ConfigError, WeightsError
from ppcore.reproduce.fidelity import count_parameters
from ppdeit.regnet import Bottleneck, ConvNorm, RegNet, SqueezeExcite, regnety_160

SMALL = dict(
    widths=(16, 24), depths=(2, 1), group_width=8, stem_width=8, stem_stride=1, strides=(1, 2), num_classes=5
)  # fmt: skip


def build(**overrides) -> RegNet:
    """A small RegNet with nothing at a special value, variances included."""
    model = RegNet(**(SMALL | overrides))
    rng = np.random.default_rng(3)
    for name, tensor in model.state_dict().items():
        z = rng.standard_normal(tensor.shape)
        if name.endswith("_variance"):
            z = 0.5 + np.abs(z)
        elif name.endswith("bn.weight"):
            z = 1 + 0.1 * z
        elif z.ndim > 1:
            z = z / math.sqrt(np.prod(z.shape[1:]))
        tensor.set_value(z.astype(np.float32))
    return model


def same(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(np.asarray(got[name]), np.asarray(want[name]), err_msg=name)


def state(model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_regnety_160_has_the_published_size():
    with paddle.LazyGuard():
        model = regnety_160()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.trainable}
    assert sum(math.prod(shape) for shape in shapes.values()) == 83_590_140
    # Running statistics are parameters to Paddle, not to anybody who counts them.
    assert count_parameters(regnety_160) == 83_590_140
    # A quarter of the block's input (the stem's 32, then 224), not of its own width.
    assert shapes["s1.b1.se.fc1.weight"] == (8, 224, 1, 1)
    assert shapes["s1.b2.se.fc1.weight"] == (56, 224, 1, 1)
    assert shapes["s3.b1.conv2.conv.weight"] == (1232, 112, 3, 3)
    assert [len(getattr(model, f"s{i}")) for i in (1, 2, 3, 4)] == [2, 4, 11, 1]
    assert [getattr(model, f"s{i}").b1.conv2.conv._stride for i in (1, 2, 3, 4)] == [[2, 2]] * 4


@pytest.mark.parametrize(
    ("overrides", "size", "sides"),
    [
        ({}, 8, {"stem": 8, "s1": 8, "s2": 4}),
        (dict(strides=None, stem_stride=2), 32, {"stem": 16, "s1": 8, "s2": 4}),
        (dict(in_chans=1, se_ratio=0.0, num_classes=0), 9, {"stem": 9, "s1": 9, "s2": 5}),
        (dict(widths=[8, 16, 24, 24], depths=[1, 1, 2, 1], strides=[1, 2, 2, 1]), 16, {"s2": 8, "s4": 4}),
    ],
)
def test_small_builds(overrides, size, sides):
    model = build(**overrides)
    model.eval()
    x = paddle.randn([2, overrides.get("in_chans", 3), size, size])
    stages = model.forward_intermediates(x)
    for name, side in sides.items():
        assert stages[name].shape[2:] == [side, side], name
    features = model.forward_features(x)
    assert features.shape[:2] == [2, model.num_features]
    classes = overrides.get("num_classes", 5) or model.num_features
    assert model(x).shape == stages["logits"].shape == [2, classes]
    pooled = features.numpy().astype(np.float64).mean(axis=(2, 3))
    np.testing.assert_allclose(model.forward_head(features, pre_logits=True).numpy(), pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stages["logits"].numpy(), model(x).numpy())


def test_the_configuration_is_checked_before_it_is_built():
    for builder in ("ppdeit.regnet.RegNet", "ppdeit.regnet.regnety_160"):
        node = {"name": builder, **SMALL, "widths": [16, 24], "depths": [2, 1], "strides": [1, 2]}
        components.check(node, "x.yaml: Arch")
        model = components.build(node)
        assert isinstance(model, RegNet)
        assert model(paddle.randn([1, 3, 8, 8])).shape == [1, 5]
        with pytest.raises(ConfigError, match="did you mean 'stem_width'"):
            components.check({**node, "stem_widht": 3}, "x.yaml: Arch")
        with pytest.raises(ConfigError, match=r"Arch\.widths"):
            components.check({**node, "widths": 3}, "x.yaml: Arch")


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (dict(depths=(1,)), "one value a stage, not 2, 1 and 2"),
        (dict(widths=(16, 20)), "multiple of group_width 8"),
        (dict(depths=(0, 1)), r"depths is \(0, 1\), but must be a list of whole numbers from 1 on"),
        (dict(se_ratio=0.01), "of 8 channels is none"),
        (dict(drop_path_rate=1.0), r"drop_path_rate is 1.0, but must be a number in \[0, 1\)"),
        (dict(num_classes=-1), "num_classes is -1"),
        (dict(stem_stride=0), "stem_stride is 0"),
    ],
)
def test_impossible_sizes(overrides, word):
    with pytest.raises(ConfigError, match=word):
        RegNet(**(SMALL | overrides))


def test_squeeze_and_excitation_is_the_formula():
    layer = SqueezeExcite(6, 2)
    x = np.random.default_rng(0).standard_normal((3, 6, 4, 5)).astype(np.float32)
    w1, w2 = (conv.weight.numpy()[:, :, 0, 0].astype(np.float64) for conv in (layer.fc1, layer.fc2))
    layer.fc1.bias.set_value(np.array([0.3, -0.2], np.float32))
    layer.fc2.bias.set_value(np.linspace(-1, 1, 6, dtype=np.float32))
    hidden = np.maximum(x.mean((2, 3)) @ w1.T + layer.fc1.bias.numpy(), 0)
    gate = 1 / (1 + np.exp(-(hidden @ w2.T + layer.fc2.bias.numpy())))
    got = layer(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(got, x * gate[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_batch_norm_moves_by_a_tenth_and_divides_by_the_batch():
    layer = ConvNorm(2, 4)
    x = 3 + 2 * np.random.default_rng(1).standard_normal((5, 2, 6, 6)).astype(np.float32)
    plain = layer.conv(paddle.to_tensor(x)).numpy().astype(np.float64)
    mean, var = plain.mean((0, 2, 3)), plain.var((0, 2, 3))
    layer.train()
    got = layer(paddle.to_tensor(x)).numpy()
    shaped = (slice(None), None, None)
    np.testing.assert_allclose(got, (plain - mean[shaped]) / np.sqrt(var[shaped] + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.bn._mean.numpy(), 0.1 * mean, rtol=1e-5)
    # CPU kernels take the biased variance, others the unbiased one (180/179 of it here).
    np.testing.assert_allclose(layer.bn._variance.numpy(), 0.9 + 0.1 * var, rtol=1e-2)
    layer.eval()
    got, before = layer(paddle.to_tensor(x)).numpy(), state(layer)
    want = (plain - before["bn._mean"][shaped]) / np.sqrt(before["bn._variance"][shaped] + 1e-5)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    same(state(layer), before)


def test_a_fresh_block_is_its_shortcut():
    size = dict(group_width=8, se_ratio=0.25, drop_path=0.0)
    x = paddle.randn([2, 16, 5, 5])
    block = Bottleneck(16, 16, stride=1, zero_init_last=True, **size)
    np.testing.assert_array_equal(block(x).numpy(), np.maximum(x.numpy(), 0))
    block = Bottleneck(16, 16, stride=1, zero_init_last=False, **size)
    assert np.abs(block(x).numpy() - np.maximum(x.numpy(), 0)).max() > 0.1
    assert isinstance(Bottleneck(16, 16, stride=2, zero_init_last=True, **size).downsample, ConvNorm)
    assert isinstance(Bottleneck(8, 16, stride=1, zero_init_last=True, **size).downsample, ConvNorm)


def test_initial_spreads():
    paddle.seed(1)
    model = RegNet(**(SMALL | dict(widths=(64, 128), depths=(1, 2), group_width=16, num_classes=400)))
    spreads = {
        "s2.b2.conv1.conv.weight": math.sqrt(2 / 128),
        "s2.b2.conv2.conv.weight": math.sqrt(2 / (9 * 16)),  # fan-out of one group
        "head.fc.weight": 0.01,
    }
    named = dict(model.named_parameters())
    for name, std in spreads.items():
        values = named[name].numpy().astype(np.float64)
        slack = 5 * std / math.sqrt(2 * values.size)  # five standard errors of a normal's spread
        assert abs(values.std() - std) < slack, name
        assert abs(values.mean()) < 5 * std / math.sqrt(values.size), name
        assert np.abs(values).max() > 2.5 * std, f"{name}: cut"
    for name, parameter in named.items():
        constant = {"bias": 0.0, "_mean": 0.0, "_variance": 1.0}.get(name.rsplit(".", 1)[1])
        if name.endswith("bn.weight"):
            constant = 0.0 if ".conv3." in name else 1.0
        if constant is not None:
            assert (parameter.numpy() == constant).all(), name


def test_the_gradient_reaches_everything():
    model = build()
    model.train()
    x = paddle.randn([4, 3, 8, 8])
    x.stop_gradient = False
    (model(x) * paddle.randn([4, 5])).sum().backward()
    trainable = {name: p for name, p in model.named_parameters() if p.trainable}
    assert not any(name.endswith(("_mean", "_variance")) for name in trainable)
    for name, parameter in trainable.items():
        assert np.abs(parameter.grad.numpy()).max() > 0, name
    assert np.abs(x.grad.numpy()).max() > 0


def test_drop_path_rises_to_its_rate():
    model = RegNet(**(SMALL | dict(depths=(2, 3), drop_path_rate=0.2)))
    rates = [block.drop_path.rate for stage in (model.s1, model.s2) for block in stage]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])


def test_reset_classifier():
    model = build()
    x = paddle.randn([2, 3, 8, 8])
    model.eval()
    features = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
    model.reset_classifier(7)
    assert model.num_classes == 7
    assert model(x).shape == [2, 7]
    model.reset_classifier(0)
    np.testing.assert_array_equal(model(x).numpy(), features)


@pytest.mark.parametrize("layout", ["timm", "deit"])
def test_weights_both_ways(layout, tmp_path):
    model, other = build(), RegNet(**SMALL)
    exported = weights.export(model, layout=layout)
    same(weights.convert(exported, source=layout, model=other), state(model))
    weights.save(model, tmp_path / "x.safetensors", layout)
    weights.load(other, tmp_path / "x.safetensors", layout)
    same(state(other), state(model))
    own = state(model)
    assert len(exported) == len(own)
    np.testing.assert_array_equal(exported["head.fc.weight"], own["head.fc.weight"].T)
    np.testing.assert_array_equal(exported["s1.b1.conv2.bn.running_var"], own["s1.b1.conv2.bn._variance"])
    for name in ("stem.conv.weight", "s1.b1.downsample.conv.weight", "s1.b2.se.fc1.weight", "s2.b1.conv3.bn.bias"):
        np.testing.assert_array_equal(exported[name], own[name])


# What timm calls the parts of a first block.
BN = ("weight", "bias", "running_mean", "running_var")
FIRST_BLOCK = {f"{part}.bn.{name}" for part in ("conv1", "conv2", "conv3", "downsample") for name in BN}
FIRST_BLOCK |= {f"{part}.conv.weight" for part in ("conv1", "conv2", "conv3", "downsample")}
FIRST_BLOCK |= {f"se.{layer}.{name}" for layer in ("fc1", "fc2") for name in ("weight", "bias")}


def test_names_are_timms_and_counters_are_ignored():
    model = build()
    exported = weights.export(model, layout="timm")
    block = {name.removeprefix("s1.b1.") for name in exported if name.startswith("s1.b1.")}
    assert block == FIRST_BLOCK
    assert {n for n in exported if n.startswith("stem")} == {
        f"stem.{n}" for n in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    }
    counters = {
        name.replace("running_mean", "num_batches_tracked"): np.int64(7)
        for name in exported
        if name.endswith("running_mean")
    }
    assert len(counters) == 1 + 3 * 3 + 2
    same(weights.convert(exported | counters, source="timm", model=RegNet(**SMALL)), state(model))


def test_loading_is_strict():
    model = build()
    exported = weights.export(model, layout="timm")
    del exported["s2.b1.conv2.bn.running_var"]
    exported["s2.b1.se.fc3.weight"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        weights.convert(exported, source="timm", model=model)
    assert "missing s2.b1.conv2.bn._variance" in str(caught.value)
    assert "unexpected s2.b1.se.fc3.weight" in str(caught.value)
    nine = weights.export(build(num_classes=9), layout="timm")
    with pytest.raises(WeightsError, match="new_head=True"):
        weights.convert(nine, source="timm", model=model)
    got = weights.convert(nine, source="timm", model=model, new_head=True)
    np.testing.assert_array_equal(got["head.fc.bias"], model.head.fc.bias.numpy())
