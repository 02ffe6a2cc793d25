"""`Infer.engine=auto`: which engine computes, and what the log says of it."""

import importlib.util

import numpy as np
import paddle
import pytest

import ppuhdfour
import ppvit
from ppcore.config import InferSection
from ppcore.deploy import Predictor, engine_choice, networks
from ppcore.deploy.engine_choice import chosen_by_size, compilations, for_photographs, for_size, shares
from ppcore.errors import ConfigError

TI, BASE = 5_717_416, 86_567_656  # parameters


class TestWhatTheLogSays:
    def test_of_small_photographs(self):
        assert compilations([(400, 600), (768, 1024), (400, 600)]) == (
            "the fastest that is installed; one compilation for 2 sizes below 4 megapixels, kept for the next start"
        )

    def test_of_large_ones(self):
        assert "; one each for 2 larger sizes, kept" in compilations([(4016, 6016), (2160, 3840), (4016, 6016)])

    def test_of_both(self):
        found = compilations([(4016, 6016), (400, 600)])
        assert "one compilation for 1 size below 4 megapixels, one each for 1 larger size, kept" in found

    def test_of_none(self):
        assert "one compilation" in compilations([])


class TestBeforeAnExport:
    """What may compute a network that `auto` exports."""

    @pytest.mark.parametrize(
        ("there", "precision", "engine"),
        [
            ({"openvino", "onnxruntime", "paddle2onnx"}, "fp32", "openvino"),
            ({"openvino", "onnxruntime", "paddle2onnx"}, "bf16", "openvino"),
            ({"onnxruntime", "paddle2onnx"}, "fp32", "onnxruntime"),
            ({"onnxruntime", "paddle2onnx"}, "bf16", "paddle"),
            ({"openvino", "onnxruntime"}, "fp32", "paddle"),
            (set(), "fp32", "paddle"),
        ],
    )
    def test_by_what_is_installed(self, monkeypatch, there, precision, engine):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: there.issuperset(packages))
        found, why = for_photographs(precision)
        assert found == engine
        assert why.startswith("the fastest that is installed")
        assert "\n" not in why


BOTH = all(importlib.util.find_spec(name) for name in ("openvino", "onnxruntime", "paddle2onnx"))


@pytest.mark.skipif(not BOTH, reason="needs OpenVINO, onnxruntime and paddle2onnx")
def test_a_network_of_images_and_the_reason(tmp_path, caplog, monkeypatch):
    paddle.seed(0)
    model = ppuhdfour.UHDFour(scale=2, extract=2, widths=[4, 4, 4], fusion=4)
    model.eval()
    with caplog.at_level("INFO", "ppcore"):
        compute = networks.network(model, InferSection(), "cpu", tmp_path, [(33, 50), (20, 60)])
    assert "Infer.engine=auto: onnxruntime for 2 sizes below 4 megapixels (prepared once)" in caplog.text
    used = []
    real = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, x: used.append(self.engine) or real(self, x))
    monkeypatch.setattr(engine_choice, "OWN_SIZE_FROM", 1300)
    for size in [(33, 50), (20, 60), (41, 29)]:  # the last was not announced
        x = np.random.default_rng(0).random((1, 3, *size), np.float32)
        y = networks.eager(model, InferSection())(x)
        assert np.abs(compute(x) - y).max() <= 1e-2 * np.abs(y).max()
    assert used == ["openvino", "onnxruntime", "onnxruntime"]


class TestBySize:
    def test_what_the_log_says(self):
        assert shares([(400, 600), (768, 1024), (400, 600), (4016, 6016)]) == (
            "onnxruntime for 2 sizes below 4 megapixels (prepared once), "
            "OpenVINO for 1 larger size (compiled for each, kept)"
        )
        assert "OpenVINO" not in shares([(400, 600)])
        assert "onnxruntime" not in shares([(4016, 6016)])
        assert for_size((1999, 2000)) == "onnxruntime"
        assert for_size((2000, 2000)) == "openvino"

    def test_in_float32_with_both(self, monkeypatch):
        there = {"openvino", "onnxruntime", "paddle2onnx"}
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: there.issuperset(packages))
        assert chosen_by_size("fp32")
        assert not chosen_by_size("bf16")
        there.remove("paddle2onnx")
        assert not chosen_by_size("fp32")
        assert chosen_by_size("fp32", writer=False)
        there.remove("openvino")
        assert not chosen_by_size("fp32", writer=False)


class TestClassifiers:
    @pytest.mark.parametrize(
        ("images", "parameters", "engine"),
        [(1, TI, "eager"), (100, TI, "eager"), (1000, TI, "openvino"), (3, BASE, "eager"), (50, BASE, "openvino")],
    )
    def test_an_export_must_pay(self, monkeypatch, images, parameters, engine):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: True)
        found, why = engine_choice.for_classifier("fp32", "cpu", images, parameters, attention=False)
        assert found == engine
        assert why

    def test_what_needs_the_model_itself(self):
        assert engine_choice.for_classifier("fp32", "gpu", 10**5, BASE, attention=False)[0] == "eager"
        assert engine_choice.for_classifier("fp32", "cpu", 10**5, BASE, attention=True)[0] == "eager"

    @pytest.mark.parametrize(
        ("there", "engine"),
        [
            (("openvino", "onnxruntime", "paddle", "paddle2onnx"), "openvino"),
            (("onnxruntime", "paddle", "paddle2onnx"), "onnxruntime"),
            (("openvino", "onnxruntime", "paddle"), "paddle"),
        ],
    )
    def test_the_fastest_that_is_there(self, monkeypatch, there, engine):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: set(packages) <= set(there))
        assert engine_choice.for_classifier("fp32", "cpu", 10**5, BASE, attention=False)[0] == engine

    def test_bf16_without_an_engine_for_it(self, monkeypatch):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: packages == ("onnxruntime", "paddle2onnx"))
        with pytest.raises(ConfigError, match="needs OpenVINO; install the extra 'deploy'"):
            engine_choice.for_classifier("bf16", "cpu", 1, BASE, attention=False)

    def test_attention_in_another_precision(self):
        """`eager` refuses that precision; an export would give other numbers than the pictures are of."""
        assert engine_choice.for_classifier("bf16", "cpu", 10**5, BASE, attention=True)[0] == "eager"

    def test_more_weights_than_a_file_of_onnx_holds(self, monkeypatch):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: True)
        found, why = engine_choice.for_classifier("fp32", "cpu", 1000, 632_045_800, attention=False)
        assert (found, why) == ("paddle", "too large for a file of ONNX")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"precision": "int8"}, r"int8 needs an export that has this form: .* -o Export\.int8\.images"),
        ({"precision": "int8", "engine": "openvino"}, "int8 needs an export"),
        ({"precision": "bf16", "engine": "eager"}, "bf16 needs an exported network"),
        ({"precision": "bf16", "rollout": True}, "bf16 needs an exported network"),
    ],
)
def test_a_precision_that_is_not_there_is_refused_before_anything_is_exported(tmp_path, wanted, message):
    """Also for tools/eval.py, which would otherwise measure float32."""
    with pytest.raises(ConfigError, match=message):
        networks.exported_classifier(
            ppvit.vit_tiny_patch16_224(img_size=16, num_classes=3), InferSection(**wanted), "cpu", tmp_path, 8
        )
    assert not list(tmp_path.iterdir())
