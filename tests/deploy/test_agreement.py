"""An export that computes something else than its model is not written; what was measured stands in the manifest."""

import importlib.util
import json

import numpy as np
import paddle
import pytest

import ppvit
from ppcore.deploy import ExportSpec, Predictor, Stage, export_model
from ppcore.deploy.model_facts import ModelFacts
from ppcore.errors import ConfigError

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
FORMATS = ["paddle", "onnx"] if importlib.util.find_spec("paddle2onnx") else ["paddle"]
NORMALIZE = {"normalize": {"name": "ppcore.data.Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}


def in_bfloat16():
    """Whether OpenVINO computes in it here."""
    if importlib.util.find_spec("openvino") is None or "onnx" not in FORMATS:
        return False
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Times(paddle.nn.Layer):
    """A network's results times a number."""

    def __init__(self, inner, by):
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, x):
        return self.inner(x) * self.by


class Unlike(ppvit.VisionTransformer):
    """Exports another function than it computes."""

    by = 1.001

    def export_spec(self):
        inner = ppvit.VisionTransformer(**TINY)
        inner.set_state_dict(self.state_dict())
        inner.eval()
        return ExportSpec((Stage("model", Times(inner, self.by), {"x": (None, 3, 16, 16)}, ("logits",)),))


def test_what_was_measured(tmp_path):
    export_model(ppvit.VisionTransformer(**TINY), tmp_path / "e", FORMATS)
    found = json.loads((tmp_path / "e" / "manifest.json").read_text())["agreement"]
    assert [name for name in found if name != "onnx bf16"] == FORMATS
    for facts in (found[name] for name in FORMATS):
        assert facts["max_difference"] < 1e-5
        assert facts["images"] == 2
        assert facts["engine"].endswith("fp32")


def test_another_function_is_not_written(tmp_path):
    model = Unlike(**TINY)
    (tmp_path / "keep").mkdir()
    export_model(ppvit.VisionTransformer(**TINY), tmp_path / "keep" / "e", ["paddle"])
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "keep" / "e").iterdir())
    with pytest.raises(
        ConfigError, match=r"computes something else than Unlike: max \|difference\|.*nothing was written"
    ):
        export_model(model, tmp_path / "keep" / "e", ["paddle"])
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "keep" / "e").iterdir()) == before
    assert [path.name for path in (tmp_path / "keep").iterdir()] == ["e"]
    model.by = 1 + 1e-7
    export_model(model, tmp_path / "keep" / "e", ["paddle"])


@pytest.mark.skipif(not in_bfloat16(), reason="needs OpenVINO, paddle2onnx and a processor with bfloat16")
@pytest.mark.parametrize("patches", [(2, 4), (4, 4)], ids=["9 tokens", "17 tokens"])
def test_in_bfloat16_too(tmp_path, patches, monkeypatch):
    """Widths as in use: small ones take other paths in OpenVINO."""
    size = [16 * number for number in patches]
    model = ppvit.VisionTransformer(img_size=size, embed_dim=192, num_heads=3, depth=3, num_classes=30)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.set_value(parameter.numpy() + rng.normal(0, 0.02, parameter.shape).astype(np.float32))
    export_model(model, tmp_path / "e", ["onnx"])
    facts = json.loads((tmp_path / "e" / "manifest.json").read_text())["agreement"]["onnx bf16"]
    assert 1e-5 < facts["relative"] < 0.05
    assert facts["engine"].endswith("bf16")
    monkeypatch.setattr("ppcore.deploy.agreement.SHORT", 1e-4)
    with pytest.raises(ConfigError, match=r"bf16 computes something else"):
        export_model(model, tmp_path / "other", ["onnx"])


def test_a_model_without_numbers_agrees_with_nothing(tmp_path):
    model = ppvit.VisionTransformer(**TINY)
    model.head.bias.set_value(np.full(3, np.nan, np.float32))
    with pytest.raises(ConfigError, match=r"max \|difference\| nan"):
        export_model(model, tmp_path / "e", ["paddle"])
    assert not list(tmp_path.iterdir())


def test_the_graph_with_what_is_around_the_network(tmp_path):
    model = ppvit.VisionTransformer(**TINY)
    about = ModelFacts(preprocessing=NORMALIZE)
    export_model(model, tmp_path / "e", FORMATS, about, in_graph=True)
    content = json.loads((tmp_path / "e" / "manifest.json").read_text())
    assert content["in_graph"] == {
        "name": "uint8", "inputs": {"image": [None, 16, 16, 3]}, "outputs": ["probabilities"],
    }  # fmt: skip
    assert set(content["agreement"]) - {"onnx bf16"} == {name + more for name in FORMATS for more in ("", " uint8")}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    expected = [sorted(Predictor(tmp_path / "e").classify(image, 3), key=lambda one: one["class"]) for image in pixels]
    expected = [[one["probability"] for one in row] for row in expected]
    if "onnx" in FORMATS:
        ort = pytest.importorskip("onnxruntime")
        session = ort.InferenceSession(str(tmp_path / "e" / "uint8.onnx"), providers=["CPUExecutionProvider"])
        [found] = session.run(None, {"image": pixels})
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(session.run(None, {"image": pixels[:1]})[0], expected[:1], atol=1e-6)


def test_which_have_no_such_graph(tmp_path):
    with pytest.raises(ConfigError, match="nothing is known of how images become the input"):
        export_model(ppvit.VisionTransformer(**TINY), tmp_path / "e", ["paddle"], in_graph=True)
