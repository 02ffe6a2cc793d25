"""LITv2 and its token merging where they are run: every engine, any batch, and in bfloat16."""

import importlib.util

import lit_reference as reference
import numpy as np
import paddle
import pytest

from ppcore.deploy import ExportSpec, Predictor, Stage, export_model
from pplit import LITv2
from pplit.token_merging import DeformConv2x2

TINY = dict(img_size=(64, 96), embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 4, 8), num_classes=5)


def needs(name: str):
    reason = f"{name} is not installed"
    return pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=reason))


def calmed(model: LITv2) -> LITv2:
    """Offsets of half a pixel or so, as training leaves them: in noise moved far, rounding is all there is to see."""
    reference.stirred(model)
    for stage in model.layers[:-1]:
        offset = stage.downsample.dconv.conv_offset
        offset.weight.set_value(offset.weight * 0.1)
        offset.bias.set_value(offset.bias * 0.3)
    return model


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def answers(model, x: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model and its folder."""
    model, folder = calmed(LITv2(**TINY)), tmp_path_factory.mktemp("litv2") / "out"
    formats = ["paddle", "onnx"] if importlib.util.find_spec("paddle2onnx") else ["paddle"]
    export_model(model, folder, formats)
    return model, folder


@pytest.mark.parametrize("engine", [needs("paddle"), needs("openvino"), needs("onnxruntime")])
def test_every_engine_answers_alike(exported, engine):
    model, folder = exported
    if engine != "paddle" and not importlib.util.find_spec("paddle2onnx"):
        pytest.skip("needs paddle2onnx")
    predictor, x = Predictor(folder, engine), images(5, 3, 64, 96)
    want = answers(model, x)
    assert np.abs(want[0] - want[1]).max() > 1e-2 * np.abs(want).max(), "the answers tell images apart"
    for batch in (x, x[:1]):
        np.testing.assert_allclose(predictor(batch), want[: len(batch)], rtol=0, atol=2e-5 * np.abs(want).max())


class Merging(paddle.nn.Layer):
    """A convolution whose windows look half a pixel aside, on a map as wide as the first stage's at 224 px."""

    img_size, in_chans = (56, 56), 8

    def __init__(self):
        super().__init__()
        self.dconv = reference.stirred(DeformConv2x2(8, 4))
        self.dconv.conv_offset.weight.set_value(self.dconv.conv_offset.weight * 0.1)
        self.dconv.conv_offset.bias.set_value(self.dconv.conv_offset.bias * 0.3)

    def forward(self, x):
        return self.dconv(x)

    def export_spec(self) -> ExportSpec:
        stage = Stage("model", self, {"x": (None, 8, 56, 56)}, ("logits",))
        return ExportSpec((stage,), onednn=False)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("paddle2onnx", "openvino"))), reason="needs paddle2onnx and openvino"
)
def test_bfloat16_rounds_values_and_not_places(tmp_path):
    """Pixel 55.3 is 55.25 in bfloat16; the graph never adds the two."""
    model, x = Merging(), images(2, 8, 56, 56)
    x = (x + np.roll(x, 1, 2) + np.roll(x, 1, 3)) / 3
    export_model(model, tmp_path / "out", ["onnx"])
    want = answers(model, x)
    found = Predictor(tmp_path / "out", "openvino", precision="bf16")(x)
    gap = np.abs(found - want) / np.abs(want).max()
    assert gap.max() < 1.5e-2
    assert gap[:, :, -8:, -8:].mean() < 1.5 * gap[:, :, :8, :8].mean() + 1e-4, (
        "as near in the last corner as in the first"
    )
