"""The deployed form of vision transformers: the model's function, with what the head does not read left out."""

import importlib.util

import numpy as np
import paddle
import paddle.nn as nn
import pytest

from ppcore.deploy import Predictor, export_model
from ppcore.deploy.transformer import FoldedTransformer
from ppvit import VisionTransformer
from ppvit.hybrid import hybrid

TINY = dict(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5)
HYBRID = dict(img_size=48, embed_layer=hybrid((1, 1), 1, "timm"), depth=1)
KINDS = {
    "token": {},
    "an even number of tokens": {"img_size": (4, 12)},
    "gap": {"pool": "gap"},
    "gap, an even number of tokens": {"pool": "gap", "img_size": (4, 12)},
    "gap, the norm behind it": {"pool": "gap", "fc_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "head_dim": {"head_dim": 12},
    "LayerScale": {"layer_scale_init": 0.3},
    "pre_logits": {"representation_size": 7},
    "no head": {"num_classes": 0},
    "no head but pre_logits": {"num_classes": 0, "representation_size": 7},
    "one block": {"depth": 1},
    "one channel": {"in_chans": 1},
    "relu, epsilon": {"act": "relu", "norm_eps": 1e-3},
    "tanh": {"act": "gelu_tanh", "mlp_dim": 24},
    "hybrid": HYBRID,
    "hybrid of Google's": {**HYBRID, "embed_layer": hybrid((1, 1), 1, "jax")},
    "hybrid of one channel": {**HYBRID, "in_chans": 1},
    "hybrid, stem alone": {**HYBRID, "embed_layer": hybrid((), 4, "timm")},
}
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"{name} is not installed"))
    for name in ("paddle", "openvino", "onnxruntime")
]


def stirred(model, scale=0.3):
    """Random values everywhere: no zero hides a mistake, and a token's logits are unlike another's."""
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * scale).astype("float32"))
    model.eval()
    return model


def images(model, batch=3, seed=0):
    shape = (batch, model.patch_embed.in_chans, *model.patch_embed.img_size)
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def answers(model, x):
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


def check_close(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_model(kind):
    model = stirred(VisionTransformer(**{**TINY, **KINDS[kind]}))
    stage = model.export_spec().stages[0]
    assert type(stage.layer) is FoldedTransformer
    x = images(model)
    assert stage.inputs["x"] == (None, *x.shape[1:])
    expected = answers(model, x)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * np.abs(expected).max(), "the answers tell images apart"
    check_close(answers(stage.layer, x), expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["token", "gap, an even number of tokens", "no qkv bias", "hybrid"])
def test_equals_the_model_where_it_is_run(tmp_path, engine, kind):
    """Any batch, each image's answer its own."""
    if engine != "paddle" and not importlib.util.find_spec("paddle2onnx"):
        pytest.skip("needs paddle2onnx")
    model = stirred(VisionTransformer(**{**TINY, **KINDS[kind]}))
    export_model(model, tmp_path / "out", ["paddle" if engine == "paddle" else "onnx"])
    predictor = Predictor(tmp_path / "out", engine)
    x = images(model, 5)
    expected = answers(model, x)
    check_close(predictor(x), expected)
    check_close(predictor(x[:1]), expected[:1])


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.blocks[0].query.weight.set_value(layer.blocks[0].query.weight * 1.01),
        lambda layer: layer.blocks[1].proj.bias.set_value(layer.blocks[1].proj.bias * 1.01),
        lambda layer: [setattr(block, "read", None) for block in layer.blocks],
        lambda layer: layer.prefix.set_value(layer.prefix * 0.99),
    ],
    ids=["scale of the queries", "a bias", "the extra token is seen", "the class token"],
)
def test_a_fault_shows(change):
    """The comparison above is sharp: a percent in one place is far beyond its tolerance."""
    model = stirred(VisionTransformer(**TINY))
    layer, x = model.export_spec().stages[0].layer, images(model)
    change(layer)
    expected = answers(model, x)
    assert np.abs(answers(layer, x) - expected).max() > 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["token", "LayerScale", "hybrid"])
def test_the_model_stays_as_it_was(kind):
    model = stirred(VisionTransformer(**{**TINY, **KINDS[kind]}))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    kinds = [type(layer) for layer in model.sublayers()]
    layer = model.export_spec().stages[0].layer
    folded = answers(layer, images(model))
    assert kinds == [type(layer) for layer in model.sublayers()]
    assert {name: value.shape for name, value in before.items()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    model.train()
    model(paddle.to_tensor(images(model))).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    check_close(answers(model, images(model)), folded)


class OwnHead(VisionTransformer):
    def forward_head(self, tokens, pre_logits=False):
        return self.head(tokens.max(axis=1))


class OwnFeatures(VisionTransformer):
    def forward_features(self, x):
        return super().forward_features(x) * 2


class OwnTokens(VisionTransformer):
    def add_tokens(self, x):
        return super().add_tokens(x * x)


class OwnBlock(VisionTransformer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks[1].attn = nn.Linear(self.embed_dim, self.embed_dim)


@pytest.mark.parametrize("kind", [OwnHead, OwnFeatures, OwnTokens, OwnBlock])
def test_what_is_not_the_librarys_is_exported_as_it_is(kind):
    model = stirred(kind(**{**TINY, "in_chans": 1}))
    stage = model.export_spec().stages[0]
    assert stage.layer is model
    assert stage.inputs["x"] == (None, 1, 8, 8)
