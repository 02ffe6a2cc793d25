"""int8 forms: written beside the others, run by every engine that can, and honest about their agreement."""

import importlib.util
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import paddle
import pytest
from sklearn.datasets import load_digits

import ppvit
from ppcore.deploy import Predictor, export_model, manifest, quantization, quantize
from ppcore.deploy.model_facts import ModelFacts
from ppcore.errors import ConfigError, DataError, WeightsError
from ppuhdfour import UHDFour

MISSING = [name for name in ("nncf", "onnx", "paddle2onnx", "openvino") if not importlib.util.find_spec(name)]
needs_nncf = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
SIZES = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 10}
STEPS = {"normalize": {"name": "ppcore.data.Normalize", "mean": [0.3], "std": [0.4]}}
ENGINES = [name for name in ("openvino", "onnxruntime") if importlib.util.find_spec(name)]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 images uint8 [N, 8, 8, 1] and labels [N]."""
    found = load_digits()
    return (found.images[..., None] * 15.9).astype(np.uint8), found.target


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export of a network trained on the first thousand digits, with its int8 form, and what `quantize` returned."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    paddle.seed(0)
    images, labels = digits()
    model = ppvit.VisionTransformer(**SIZES)
    x = paddle.to_tensor(((images / 255 - 0.3) / 0.4).astype("float32").transpose(0, 3, 1, 2))
    y, optimizer = paddle.to_tensor(labels), paddle.optimizer.AdamW(3e-3, parameters=model.parameters())
    for step in range(80):
        part = np.random.default_rng(step).integers(0, 1000, 64)
        paddle.nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
        optimizer.clear_grad()
    folder = tmp_path_factory.mktemp("int8") / "out"
    export_model(model, folder, ["onnx", "paddle"], ModelFacts(preprocessing=STEPS))
    found = quantize(folder, list(images[1000:]), count=100, compared=400)
    return folder, x.numpy()[1000:], labels[1000:], found


@needs_nncf
class TestForm:
    def test_its_agreement_is_in_the_manifest(self, exported):
        folder, _, _, found = exported
        content = manifest.read(folder)
        assert content.int8 == found
        assert (found["calibration_images"], found["images"]) == (100, 400)
        assert found["calibration_sha256"] != found["images_sha256"]
        assert found["top1_agreement"] >= 0.97
        assert 0 < found["mean_difference"] < found["max_difference"]
        assert {"model.onnx", "model.int8.onnx"} < set(content.files)
        manifest.check(folder, content)

    def test_the_agreement_is_what_a_predictor_gives(self, exported):
        folder, x, _, found = exported
        order = np.random.default_rng(0).permutation(len(x))[100:500]
        engine = found["engine"].partition(" ")[0].lower()
        fp32, int8 = (Predictor(folder, engine, precision)(x[order]) for precision in ("fp32", "int8"))
        assert np.abs(fp32 - int8).max() == pytest.approx(found["max_difference"], rel=0.05)
        assert (fp32.argmax(1) == int8.argmax(1)).mean() == pytest.approx(found["top1_agreement"], abs=0.005)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_it_classifies(self, exported, engine):
        folder, x, labels, _ = exported
        fp32, int8 = (Predictor(folder, engine, precision)(x) for precision in ("fp32", "int8"))
        right = (fp32.argmax(1) == labels).mean()
        assert right > 0.7, "a network that has learned something"
        assert (int8.argmax(1) == labels).mean() > right - 0.03
        assert not np.array_equal(int8, fp32)
        assert np.abs(int8 - fp32).mean() < 0.1 * np.abs(fp32).mean()

    def test_weights_are_bytes(self, exported):
        import onnx
        from onnx import numpy_helper

        folder = exported[0]
        graph = onnx.load(str(folder / "model.int8.onnx")).graph
        whole = onnx.load(str(folder / "model.onnx")).graph
        kinds = [numpy_helper.to_array(value) for value in graph.initializer]
        assert sum(value.size for value in kinds if value.dtype in (np.int8, np.uint8)) > 2 * 12 * 32 * 32
        read = {name for node in graph.node for name in node.input}
        assert not [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in read]
        large = [node for node in graph.node if node.op_type == "Constant" and len(node.attribute[0].t.raw_data) > 4096]
        assert not large, "no copy in float32 stays"
        assert len(whole.node) < len(graph.node)

    @pytest.mark.skipif("openvino" not in ENGINES, reason="needs OpenVINO")
    def test_openvino_computes_products_in_int8(self, exported):
        """Whatever else is done to the graph: four products a block, at least most of them."""
        folder, x, _, _ = exported
        predictor = Predictor(folder, "openvino", "int8")
        predictor(x[:4])
        (compiled,) = predictor._runtime.compiled.values()
        about = [node.get_rt_info() for node in compiled.model.get_runtime_model().get_ops()]
        products = [info for info in about if info["layerType"].astype(str) in ("FullyConnected", "MatMul")]
        short = [info for info in products if info["runtimePrecision"].astype(str) in ("i8", "u8")]
        assert len(short) >= 6, [(i["layerType"].astype(str), i["runtimePrecision"].astype(str)) for i in products]

    def test_auto_says_why(self, exported, caplog):
        with caplog.at_level("INFO", "ppcore"):
            assert Predictor(exported[0], precision="int8").engine == "openvino"
        assert "int8" in caplog.text
        assert "fastest" in caplog.text

    def test_paddle_does_not_run_it(self, exported):
        with pytest.raises(ConfigError, match="paddle does not read the int8 form"):
            Predictor(exported[0], "paddle", "int8")

    def test_damage_is_found_where_it_is_read(self, exported, tmp_path):
        folder = tmp_path / "copy"
        folder.mkdir()
        for path in exported[0].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "model.int8.onnx").write_bytes(b"short")
        Predictor(folder, "openvino")
        with pytest.raises(WeightsError, match=r"model\.int8\.onnx"):
            Predictor(folder, "openvino", "int8")

    def test_runs_without_paddle(self, exported):
        code = (
            "import sys; from ppcore.deploy import Predictor; import numpy as np\n"
            "y = Predictor(sys.argv[1], precision='int8')(np.ones((2, 1, 8, 8), np.float32))\n"
            "print(y.shape, sorted({'paddle', 'nncf', 'omegaconf', 'pydantic'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, exported[0]], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.splitlines()[-1:] == ["(2, 10) []"], done.stderr


@needs_nncf
@needs_nncf
@pytest.mark.skipif(len(ENGINES) < 2, reason="needs OpenVINO and onnxruntime")
def test_the_mean_of_the_tokens_is_the_same_in_every_engine_and_batch(tmp_path):
    paddle.seed(0)
    model = ppvit.VisionTransformer(**{**SIZES, "img_size": 32, "embed_dim": 96, "num_heads": 3}, pool="gap")
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.set_value(parameter.numpy() + 0.05 * rng.standard_normal(parameter.shape).astype("float32"))
    model.eval()
    images = rng.standard_normal((200, 1, 32, 32)).astype("float32")
    export_model(model, tmp_path / "out", ["onnx"])
    quantize(tmp_path / "out", list(images), count=50, compared=50)
    wanted = Predictor(tmp_path / "out", "onnxruntime", "int8")(images)
    predictor = Predictor(tmp_path / "out", "openvino", "int8")
    for found in (predictor(images), np.concatenate([predictor(images[:8]), predictor(images[8:])])):
        assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_folder_of_files(exported, tmp_path):
    """Another int8 form takes the place of the first."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for i, image in enumerate(digits()[0][:24]):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    found = quantize(folder, tmp_path / "*.png")
    assert (found["calibration_images"], found["images"], found["source"]) == (18, 6, str(tmp_path / "*.png"))
    assert manifest.read(folder).int8 == found
    Predictor(folder, precision="int8")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in exported[0].iterdir())


@needs_nncf
def test_what_is_beside_the_export_is_not_part_of_it(exported, tmp_path):
    """A card or a note that somebody changes later must not make the export a damaged one."""
    folder = shutil.copytree(exported[0], tmp_path / "copy")
    (folder / "card.json").write_text("{}")
    quantize(folder, list(digits()[0][:32]))
    assert set(manifest.read(folder).files) == set(manifest.read(exported[0]).files)
    (folder / "card.json").write_text("another")
    Predictor(folder, "paddle")


@needs_nncf
def test_numbers_that_are_not_finite_are_no_form(exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported[0], tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = Predictor.__call__

    def broken(self, x):
        return real(self, x) * (np.float32(np.nan) if self.precision == "int8" else np.float32(1))

    monkeypatch.setattr(Predictor, "__call__", broken)
    with pytest.raises(ConfigError, match="gives numbers that are not finite; nothing was written"):
        quantize(folder, list(digits()[0][:32]))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@needs_nncf
def test_a_bad_form_is_warned_of(exported, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(quantization, "POOR", 1.1)
    with caplog.at_level("INFO", "ppcore"):
        quantize(folder, list(digits()[0][:32]))
    assert [record.levelname for record in caplog.records if "agrees with fp32" in record.message] == ["WARNING"]


@needs_nncf
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (list(np.zeros((9, 8, 8, 1), np.uint8)), "9 images"),
        (list(np.zeros((20, 8, 9, 1), np.uint8)), r"takes \[1, 8, 8\].*\[1, 8, 9\]"),
        ("nowhere/*.jpg", "nowhere"),
    ],
)
def test_unfit_images(exported, images, message):
    before = (exported[0] / manifest.NAME).read_bytes()
    with pytest.raises(DataError, match=message):
        quantize(exported[0], images)
    assert (exported[0] / manifest.NAME).read_bytes() == before


class TestRefusals:
    """What needs no nncf to be refused."""

    def test_several_stages(self, tmp_path):
        model = UHDFour(scale=2, extract=4, widths=[4, 4, 4], fusion=4, fourier=False, adjust="residual")
        folder = export_model(model, tmp_path / "out", ["paddle"])
        with pytest.raises(ConfigError, match="classifiers of one stage"):
            quantize(folder, "photos")
        with pytest.raises(ConfigError, match="only classifiers of one stage"):
            Predictor(folder, precision="int8")

    def test_no_onnx_and_no_form(self, tmp_path):
        folder = export_model(ppvit.VisionTransformer(**SIZES), tmp_path / "out", ["paddle"])
        with pytest.raises(ConfigError, match="int8 is made from the format onnx, not from paddle"):
            quantize(folder, "photos")
        with pytest.raises(ConfigError, match=r"no int8 form; write it with ppcore\.deploy\.quantize"):
            Predictor(folder, precision="int8")

    @pytest.mark.skipif("paddle2onnx" in MISSING, reason="paddle2onnx is not installed")
    def test_nncf_is_missing(self, tmp_path, monkeypatch):
        folder = export_model(ppvit.VisionTransformer(**SIZES), tmp_path / "out", ["onnx"])
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else find(name))
        with pytest.raises(ConfigError, match=r"int8 needs nncf.*deploy"):
            quantize(folder, "photos")


@needs_nncf
@pytest.mark.slow
@pytest.mark.parametrize("source", ["Eval", "folder"])
def test_the_tool(tool, tiny_config, tmp_path, source):
    """From a configuration: the images of its data set, or of a folder."""
    trained = tool("train", "-c", tiny_config, "-o", "Global.duration.steps=2")
    assert trained.returncode == 0, trained.stderr
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, image in enumerate(digits()[0][:24]):
        cv2.imwrite(str(photos / f"{i}.png"), image)
    images = "Eval" if source == "Eval" else photos
    done = tool("export_model", "-c", tiny_config, "-o", f"Export.int8.images={images}", "-o", "Export.int8.count=40")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("int8)")
    content = json.loads((tmp_path / "run" / "export" / manifest.NAME).read_text())
    assert content["int8"]["calibration_images"] == (40 if source == "Eval" else 18)
    assert "model.int8.onnx" in content["files"]
