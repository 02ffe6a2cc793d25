"""Predictors against the eager model, by engine; sizes, batches, tiles; what they refuse."""

import importlib.util

import numpy as np
import paddle
import pytest

import ppvit
from ppcore.deploy import Predictor, TileRule, export_model, tiles
from ppcore.deploy.engine_choice import ENGINES
from ppcore.errors import ConfigError, DataError, WeightsError
from ppuhdfour import UHDFour

TINY = dict(scale=4, extract=4, widths=[4, 8, 12], fusion=4)
INSTALLED = [name for name, (module, *_) in ENGINES.items() if importlib.util.find_spec(module)]
ONNX = importlib.util.find_spec("paddle2onnx") is not None
FORMATS = ["onnx", "paddle"] if ONNX else ["paddle"]
USABLE = [name for name in INSTALLED if name == "paddle" or ONNX]
SIZES = [(40, 52), (33, 61), (70, 41), (37, 129), (101, 67)]


def image(*shape):
    return np.random.default_rng(0).random(shape).astype("float32") * np.float32(0.3)


@paddle.no_grad()
def eager(model, x):
    return model(paddle.to_tensor(x)).numpy()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    paddle.seed(0)
    model = UHDFour(**TINY)
    model.eval()
    return model, export_model(model, tmp_path_factory.mktemp("network") / "out", FORMATS)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    paddle.seed(0)
    model = ppvit.vit_tiny_patch16_224(img_size=32, num_classes=7)
    model.eval()
    return model, export_model(model, tmp_path_factory.mktemp("classifier") / "out", FORMATS)


@pytest.mark.parametrize("engine", USABLE)
class TestEngines:
    def test_any_size_equals_eager(self, network, engine):
        model, folder = network
        predictor = Predictor(folder, engine, threads=1)
        errors = []
        for height, width in SIZES:
            x = image(1, 3, height, width)
            y = eager(model, x)
            errors.append(np.abs(predictor(x) - y).max() / np.abs(y).max())
        # A phase within rounding of ±π may fall on the other side (docs/fourier.md); that is one image in many.
        assert sorted(errors)[-2] <= 1e-5
        assert max(errors) <= 1e-2

    def test_tiles_change_nothing(self, network, engine):
        model, folder = network
        x = image(2, 3, 33, 61)
        y = eager(model, x)
        for tile in (1, 12, 1000):
            z = Predictor(folder, engine, threads=1, tile=tile)(x)
            assert np.abs(z - y).max() <= 1e-2 * np.abs(y).max(), "seams"
            if engine == "openvino":
                break

    def test_a_classifier(self, classifier, engine):
        model, folder = classifier
        predictor = Predictor(folder, engine)
        for batch in (1, 3):
            x = image(batch, 3, 32, 32)
            np.testing.assert_allclose(predictor(x), eager(model, x), atol=2e-5)
        with pytest.raises(DataError, match="takes"):
            predictor(image(1, 3, 48, 32))


def test_one_pixel(network):
    assert Predictor(network[1], "paddle")(image(1, 3, 1, 1)).shape == (1, 3, 1, 1)


def test_auto_takes_the_fastest_there_is_and_says_so(network):
    predictor = Predictor(network[1], threads=1)
    assert predictor.engine == USABLE[0]
    assert "UHDFour on " in predictor.describe()
    assert predictor.describe().endswith("fp32, threads: 1")


class TestRefusals:
    @pytest.mark.parametrize("x", [image(3, 8, 8), image(1, 3, 8, 8).astype("float64"), image(1, 3, 0, 8), [[1.0]]])
    def test_input(self, network, x):
        with pytest.raises(DataError, match="float32 array"):
            Predictor(network[1], "paddle")(x)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"engine": "tensorrt"}, "is none; choose"),
            ({"precision": "fp16"}, "choose fp32, bf16 or int8"),
            ({"precision": "int8"}, "no int8 form"),
            ({"engine": "paddle", "precision": "bf16"}, "fp32 only"),
            ({"tile": 0}, "tile"),
            ({"threads": 0}, "threads"),
        ],
    )
    def test_arguments(self, network, arguments, message):
        with pytest.raises(ConfigError, match=message) as caught:
            Predictor(network[1], **arguments)
        assert "\n" not in str(caught.value)

    def test_an_engine_that_is_not_installed(self, network, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match="not installed" if ONNX else "needs format onnx"):
            Predictor(network[1], "openvino")

    def test_an_engine_whose_format_is_not_there(self, tmp_path):
        folder = export_model(UHDFour(**TINY, fourier=False, adjust="residual"), tmp_path / "out", ["paddle"])
        with pytest.raises(ConfigError, match="needs format onnx"):
            Predictor(folder, "onnxruntime")

    def test_damaged_and_missing_files(self, tmp_path):
        folder = export_model(UHDFour(**TINY, fourier=False, adjust="residual"), tmp_path / "out", ["paddle"])
        path = folder / "tail.pdiparams"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="sha256"):
            Predictor(folder)
        path.unlink()
        with pytest.raises(WeightsError, match="missing"):
            Predictor(folder)
        with pytest.raises(WeightsError, match="no exported model"):
            Predictor(tmp_path)


def test_tiles_have_one_size():
    rule = TileRule(stage="s", axis=1, channels=2, output_axis=2, scale=2, halo=1)
    x, seen = np.arange(22, dtype="float32").reshape(1, 11, 2), set()

    def stage(inputs):
        seen.add(inputs["x"].shape)
        return np.repeat(inputs["x"].transpose(0, 2, 1), 2, axis=2)

    y = tiles.in_tiles(rule, {"x": x}, stage, tile=5)
    np.testing.assert_array_equal(y, np.repeat(x.transpose(0, 2, 1), 2, axis=2))
    assert seen == {(1, 5, 2)}
