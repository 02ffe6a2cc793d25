"""`Infer.engine=auto`: which engine for which sizes, and that both may compute in one run."""

import importlib.util

import numpy as np
import paddle
import pytest

import ppuhdfour
from ppcore.config import InferSection
from ppcore.deploy import engine_choice, networks, predictor
from ppcore.deploy.engine_choice import COMPILE, KEPT, SAVED, by_size, explain, for_photographs
from ppcore.errors import ConfigError

TI, BASE = 5_717_416, 86_567_656  # parameters

SMALL = (400, 600)
HD = (1080, 1920)
LARGE = (4016, 6016)


class TestChoice:
    def test_small_photographs_of_different_sizes_are_not_compiled_for(self):
        sizes = [(400, 600), (768, 1024), (480, 640), (533, 800), (600, 400), (340, 512), (820, 615)]
        assert set(by_size(sizes).values()) == {"onnxruntime"}

    def test_one_small_photograph(self):
        assert by_size([SMALL]) == {SMALL: "onnxruntime"}

    def test_a_large_one_goes_where_memory_is_a_third(self):
        assert by_size([LARGE]) == {LARGE: "openvino"}

    def test_a_size_that_repeats_pays_for_compiling(self):
        assert by_size([HD] * 30) == {HD: "openvino"}
        often = int(COMPILE / SAVED / (SMALL[0] * SMALL[1] / 1e6)) + 1
        many = [(200 + i, 300) for i in range(KEPT + 1)]
        mixed = by_size([SMALL] * often + many)
        assert mixed.pop(SMALL) == "openvino"
        assert set(mixed.values()) == {"onnxruntime"}

    def test_fewer_repeats_pay_where_onnxruntime_need_not_be_prepared(self):
        few = [HD] * 10
        assert by_size(few) == {HD: "openvino"}
        assert by_size([*few, (300, 300)])[HD] == "onnxruntime"

    def test_both_in_one_run(self):
        sizes = [LARGE, *((300 + i, 500) for i in range(6))]
        found = by_size(sizes)
        assert found.pop(LARGE) == "openvino"
        assert set(found.values()) == {"onnxruntime"}

    def test_no_more_sizes_are_kept_ready_than_fit(self):
        sizes = [(1000 + i, 1500) for i in range(KEPT + 3) for _ in range(40)]
        assert list(by_size(sizes).values()).count("openvino") == KEPT

    def test_the_order_does_not_matter(self):
        sizes = [HD] * 20 + [SMALL] * 3 + [LARGE]
        assert by_size(sizes) == by_size(sizes[::-1])

    def test_none(self):
        assert by_size([]) == {}

    def test_the_reason_is_one_line(self):
        sizes = [LARGE, LARGE, *((300 + i, 500) for i in range(6))]
        text = explain(sizes, by_size(sizes))
        assert text.startswith("onnxruntime for 6 photographs of 6 sizes (OpenVINO would compile for each size")
        assert "OpenVINO for 2 photographs of 1 size (compiled for a size that is large or repeats)" in text
        assert "\n" not in text


class TestBeforeAnExport:
    """What may compute a network that `auto` exports."""

    @pytest.mark.parametrize(
        ("there", "precision", "engines"),
        [
            ({"openvino", "onnxruntime", "paddle2onnx"}, "fp32", ("openvino", "onnxruntime")),
            ({"openvino", "onnxruntime", "paddle2onnx"}, "bf16", ("openvino",)),
            ({"onnxruntime", "paddle2onnx"}, "fp32", ("onnxruntime",)),
            ({"onnxruntime", "paddle2onnx"}, "bf16", ("paddle",)),
            ({"openvino", "onnxruntime"}, "fp32", ("paddle",)),
            (set(), "fp32", ("paddle",)),
        ],
    )
    def test_by_what_is_installed(self, monkeypatch, there, precision, engines):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: there.issuperset(packages))
        assert for_photographs(precision) == engines


BOTH = all(importlib.util.find_spec(name) for name in ("openvino", "onnxruntime", "paddle2onnx"))


@pytest.mark.skipif(not BOTH, reason="needs OpenVINO, onnxruntime and paddle2onnx")
def test_each_size_is_computed_by_its_engine(tmp_path, monkeypatch):
    monkeypatch.setattr("ppcore.deploy.engine_choice.LARGE", 0.004)
    used, said = [], []

    class Spy(predictor.Predictor):
        def __call__(self, x):
            used.append(self.engine)
            return super().__call__(x)

    monkeypatch.setattr("ppcore.deploy.by_size.Predictor", Spy)
    monkeypatch.setattr(networks.log, "info", lambda text, *values: said.append(text % values))
    paddle.seed(0)
    model = ppuhdfour.UHDFour(scale=2, extract=2, widths=[4, 4, 4], fusion=4)
    model.eval()
    sizes = [(33, 50), (70, 70), (41, 29), (20, 60), (24, 70), (50, 33)]
    compute = networks.network(model, InferSection(), "cpu", tmp_path, sizes)
    assert said[-1].startswith("Infer.engine=auto: onnxruntime for 5 photographs of 5 sizes")
    for size in [*sizes, (90, 90)]:  # the last was not announced
        x = np.random.default_rng(0).random((1, 3, *size), np.float32)
        y = networks.eager(model, InferSection())(x)
        assert np.abs(compute(x) - y).max() <= 1e-2 * np.abs(y).max()
    assert used == ["onnxruntime", "openvino", *["onnxruntime"] * 4, "openvino"]


class TestClassifiers:
    @pytest.mark.parametrize(
        ("images", "parameters", "engine"),
        [(1, TI, "eager"), (100, TI, "eager"), (1000, TI, "openvino"), (3, BASE, "eager"), (50, BASE, "openvino")],
    )
    def test_an_export_must_pay(self, monkeypatch, images, parameters, engine):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: True)
        found, why = engine_choice.for_classifier("fp32", "cpu", images * parameters, attention=False)
        assert found == engine
        assert why

    def test_what_needs_the_model_itself(self):
        assert engine_choice.for_classifier("fp32", "gpu", 10**12, attention=False)[0] == "eager"
        assert engine_choice.for_classifier("fp32", "cpu", 10**12, attention=True)[0] == "eager"

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
        assert engine_choice.for_classifier("fp32", "cpu", 10**12, attention=False)[0] == engine

    def test_bf16_without_an_engine_for_it(self, monkeypatch):
        monkeypatch.setattr(engine_choice, "installed", lambda *packages: packages == ("onnxruntime", "paddle2onnx"))
        with pytest.raises(ConfigError, match="needs OpenVINO; install the extra 'deploy'"):
            engine_choice.for_classifier("bf16", "cpu", 1, attention=False)
