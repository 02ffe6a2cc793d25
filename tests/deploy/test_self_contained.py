"""An exported folder stands by itself: files to answers, with what is in it, and no Paddle."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
import skimage.data

import ppuhdfour
import ppvit
from ppcore import config, weights
from ppcore.deploy import Predictor, export_model
from ppcore.deploy.model_facts import ModelFacts
from ppcore.deploy.preprocessing import Preprocessing, best
from ppcore.engine import predict, run_export
from ppcore.errors import ConfigError, DataError, OutputError, PPError, WeightsError

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
STEPS = {
    "resize": {"name": "ppcore.data.Resize", "size": 20, "interpolation": "bilinear"},
    "crop": {"name": "ppcore.data.CenterCrop", "size": 16},
    "normalize": {"name": "ppcore.data.Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
}
FORMAT = "onnx" if importlib.util.find_spec("paddle2onnx") else "paddle"
CODE = """
import json, sys
from ppcore.deploy import Predictor
predictor = Predictor(sys.argv[1])
print(json.dumps([predictor.classify(sys.argv[2]), "paddle" in sys.modules, "omegaconf" in sys.modules]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A configuration with its weights, a folder of photographs of three sizes, and the export."""
    folder = tmp_path_factory.mktemp("made")
    paddle.seed(3)
    weights.save(ppvit.VisionTransformer(**TINY, init="timm"), folder / "net.safetensors")
    photographs = folder / "photos"
    photographs.mkdir()
    for i, picture in enumerate([skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()[:90]] * 3):
        cv2.imwrite(str(photographs / f"{i}.jpg"), picture[i:, :, ::-1])
    tree = {
        "Global": {"output_dir": str(folder / "run"), "device": "cpu"},
        "Arch": {"name": "ppvit.VisionTransformer", **TINY},
        "DataLoader": {"Eval": {
            "dataset": {"name": "ppcore.data.Digits", "split": "test"}, "transforms": STEPS, "batch_size": 8,
        }},
        "Infer": {"class_names": ["ant", "bee", "cat"], "engine": "eager"},
        "Export": {"formats": [FORMAT], "licence": "cc0-1.0"},
    }  # fmt: skip
    (folder / "net.yaml").write_text(json.dumps(tree))
    return folder


@pytest.fixture(scope="module")
def exported(made):
    command = [sys.executable, "tools/export_model.py", "-c", made / "net.yaml", "--weights", made / "net.safetensors"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{FORMAT} agrees with the model: max |difference|" in done.stderr
    return made / "run" / "export"


@pytest.fixture(scope="module")
def expected(made):
    """What the model itself answers, with its configuration."""
    settings = config.load(made / "net.yaml", [f"Infer.input={made / 'photos'}"])
    return predict.run(settings, str(made / "net.safetensors"))


def same(found, wanted):
    assert [one["class"] for one in found] == [one["class"] for one in wanted]
    assert [one["name"] for one in found] == [one["name"] for one in wanted]
    a, b = ([one["probability"] for one in answers] for answers in (found, wanted))
    np.testing.assert_allclose(a, b, atol=1e-6)


class TestClassify:
    def test_files_as_the_model_does(self, exported, made, expected):
        predictor = Predictor(exported)
        files = [record["file"] for record in expected]
        for found, record in zip(predictor.classify(files), expected, strict=True):
            same(found, record["topk"])
        same(predictor.classify(files[1]), expected[1]["topk"])
        pixels = cv2.imread(files[1])[:, :, ::-1]
        same(predictor.classify(pixels, topk=2), expected[1]["topk"][:2])
        probabilities = np.array([one["probability"] for record in expected for one in record["topk"]])
        assert probabilities.std() > 1e-3, "the photographs differ, or nothing is tested"

    @pytest.mark.skipif(FORMAT == "paddle", reason="Paddle Inference needs Paddle")
    def test_without_paddle_and_configurations(self, exported, expected):
        command = [sys.executable, "-c", CODE, exported, expected[0]["file"]]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        answers, with_paddle, with_omegaconf = json.loads(done.stdout.splitlines()[-1])
        same(answers, expected[0]["topk"])
        assert not with_paddle
        assert not with_omegaconf

    def test_one_channel_reads_luma(self, tmp_path):
        model = ppvit.VisionTransformer(**{**TINY, "in_chans": 1})
        grey = {"crop": STEPS["crop"], "normalize": {"name": "ppcore.data.Normalize", "mean": [0.5], "std": [0.2]}}
        export_model(model, tmp_path / "e", [FORMAT], ModelFacts(preprocessing=grey))
        photograph = skimage.data.astronaut()
        luma = Preprocessing(grey, 1)(photograph)
        expected = (photograph @ np.array([0.299, 0.587, 0.114]) / 255 - 0.5) / 0.2
        np.testing.assert_allclose(luma[0], expected[248:264, 248:264], atol=0.5 / 255 / 0.2 + 1e-5)
        same(Predictor(tmp_path / "e").classify(photograph), best(Predictor(tmp_path / "e")(luma[None])[0], 5, None))

    def test_what_it_does_not_take(self, exported, tmp_path):
        predictor = Predictor(exported)
        (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no photograph")
        for wrong in (
            tmp_path / "absent.jpg",
            tmp_path / "broken.jpg",
            np.zeros((4, 4, 3)),
            np.zeros((4, 4), np.uint8),
        ):
            with pytest.raises(DataError):
                predictor.classify(wrong)
        with pytest.raises(ConfigError, match="makes no images: use classify"):
            predictor.enhance("photo.jpg")

    def test_lists_that_are_empty_and_numbers_that_are_none(self, exported, monkeypatch):
        predictor = Predictor(exported)
        assert predictor.classify([]) == []
        with pytest.raises(ConfigError, match="topk: 0, but must be at least 1"):
            predictor.classify(np.zeros((20, 20, 3), np.uint8), topk=0)
        for value in (np.nan, np.inf):
            monkeypatch.setattr(Predictor, "__call__", lambda self, x, v=value: np.array([[0, v, 1]], np.float32))
            with pytest.raises(DataError, match="logits are not finite"):
                predictor.classify(np.zeros((20, 20, 3), np.uint8))

    def test_an_export_without_preprocessing(self, tmp_path):
        export_model(ppvit.VisionTransformer(**TINY), tmp_path / "e", [FORMAT])
        with pytest.raises(ConfigError, match=r"says nothing of preprocessing: export it with tools/export_model.py"):
            Predictor(tmp_path / "e").classify(np.zeros((4, 4, 3), np.uint8))

    @pytest.mark.parametrize(
        "node",
        [
            {"name": "os.system", "command": "true"},
            {"name": "ppcore.data.ImageFolder", "root": "."},
            {"name": "ppcore.data.RandomErasing"},
            {"name": "ppcore.data.Resize", "sise": 3},
            {"size": 3},
        ],
    )
    def test_a_manifest_names_steps_and_nothing_else(self, exported, tmp_path, node):
        content = json.loads((exported / "manifest.json").read_text())
        content["model"]["preprocessing"] = {"one": node, "normalize": STEPS["normalize"]}
        for path in filter(Path.is_file, exported.iterdir()):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match="preprocessing of the export"):
            Predictor(tmp_path).classify(np.zeros((4, 4, 3), np.uint8))


class TestManifest:
    def test_says_what_the_export_is_of(self, exported):
        about = json.loads((exported / "manifest.json").read_text())
        described = about["model"]
        assert described["architecture"] == {"name": "ppvit.VisionTransformer", **TINY}
        assert list(described["preprocessing"]) == ["resize", "crop", "normalize"]
        assert described["preprocessing"]["resize"]["size"] == 20
        assert described["classes"] == ["ant", "bee", "cat"]
        assert described["weights"]["licence"] == "cc0-1.0"
        assert len(described["weights"]["sha256"]) == 64
        assert 0 < about["agreement"][FORMAT]["relative"] < 2e-5

    def test_of_another_version_or_damaged(self, exported, tmp_path):
        text = (exported / "manifest.json").read_text()
        for wrong in (text.replace('"version": 4', '"version": 2'), text[:-9], text.replace('"classes"', '"klasses"')):
            (tmp_path / "manifest.json").write_text(wrong)
            with pytest.raises(WeightsError, match="export the model again"):
                Predictor(tmp_path)


class TestTool:
    def test_classifies_without_a_configuration(self, exported, made, expected, tool, tmp_path):
        done = tool("infer", "--export", exported, made / "photos", "-o", f"Infer.output={tmp_path}", "Infer.topk=2")
        assert done.returncode == 0, done.stderr
        written = json.loads((tmp_path / "predictions.json").read_text())
        for found, wanted in zip(written["images"], expected, strict=True):
            assert found["file"] == wanted["file"]
            same(found["topk"], wanted["topk"][:2])
        assert len(done.stdout.splitlines()) == len(expected)
        assert "images/s" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-o", "Infer.engine=eager"], "an export runs without Paddle"),
            (["-o", "Infer.tile=8"], "makes no images"),
            (["-o", "Infer.presicion=bf16"], "precision"),
            (["-o", "Global.device=cpu"], "the section Infer only"),
            (["-o", "Infer.precision=int8"], "int8"),
            (["-o", "Infer=5"], "Infer=5: Infer is a section; write it as Infer.key=value"),
            (["-o", "Infer.class_names=[a, b]"], "class_names: 2 names for a network with 3 outputs"),
        ],
    )
    def test_what_it_refuses(self, exported, made, arguments, message, tmp_path):
        tree = config.infer_section
        output = tmp_path / "out"
        with pytest.raises(PPError, match=message) as caught:
            run_export.run(exported, tree([f"Infer.output={output}", *arguments[1:]], [str(made / "photos")]))
        assert "\n" not in str(caught.value)
        assert not list(output.glob("*"))

    def test_a_folder_that_is_no_export(self, tool, tmp_path):
        done = tool("infer", "--export", tmp_path, "photo.jpg")
        assert done.returncode == 2
        assert "no exported model" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


class TestFormats:
    @pytest.mark.parametrize("batch_size", [1, 4, 50])
    def test_the_same_answers_in_each(self, exported, made, tmp_path, batch_size, expected):
        for form in ("json", "jsonl", "csv"):
            wanted = config.infer_section(
                [f"Infer.output={tmp_path}", f"Infer.format={form}", f"Infer.batch_size={batch_size}"],
                [str(made / "photos")],
            )
            run_export.run(exported, wanted)
        first = json.loads((tmp_path / "predictions.json").read_text())["images"]
        lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
        head, *rows = [line.split(",") for line in (tmp_path / "predictions.csv").read_text().splitlines()]
        assert first == lines
        assert [record["file"] for record in first] == [record["file"] for record in expected]
        assert head[:4] == ["file", "class_1", "name_1", "probability_1"]
        for row, record in zip(rows, first, strict=True):
            values = [value for one in record["topk"] for value in one.values()]
            assert row == [record["file"], *map(str, values)]

    def test_csv_quotes_what_needs_it(self, exported, made, tmp_path):
        folder = tmp_path / 'a, "b"'
        folder.mkdir()
        (folder / "0.jpg").write_bytes((made / "photos" / "0.jpg").read_bytes())
        wanted = config.infer_section([f"Infer.output={tmp_path}", "Infer.format=csv"], [str(folder)])
        run_export.run(exported, wanted)
        text = (tmp_path / "predictions.csv").read_text()
        assert f'"{str(folder).replace(chr(34), chr(34) * 2)}/0.jpg",' in text


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory):
    paddle.seed(0)
    model = ppuhdfour.UHDFour(scale=2, extract=2, widths=[4, 4, 4], fusion=4, fourier=False, adjust="residual")
    return export_model(model, tmp_path_factory.mktemp("enhancer") / "e", [FORMAT]), model


class TestEnhance:
    def test_a_file_to_a_file(self, enhancer, tmp_path):
        folder, model = enhancer
        dark = skimage.data.coffee()[:50, :61] // 3
        cv2.imwrite(str(tmp_path / "dark.png"), dark[:, :, ::-1])
        found = Predictor(folder).enhance(tmp_path / "dark.png", tmp_path / "bright.png")
        with paddle.no_grad():
            y = model(paddle.to_tensor(dark.transpose(2, 0, 1)[None].astype(np.float32) / 255)).numpy()[0]
        expected = np.rint(np.clip(y, 0, 1) * 255).transpose(1, 2, 0)
        assert np.abs(found - expected).max() <= 1
        assert (found == expected).mean() > 0.99
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "bright.png"))[:, :, ::-1], found)
        np.testing.assert_array_equal(Predictor(folder).enhance(dark), found)

    def test_never_over_a_file(self, enhancer, tmp_path):
        cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((8, 8, 3), np.uint8))
        before = (tmp_path / "dark.png").read_bytes()
        with pytest.raises(OutputError, match="is there already"):
            Predictor(enhancer[0]).enhance(tmp_path / "dark.png", tmp_path / "dark.png")
        assert (tmp_path / "dark.png").read_bytes() == before

    @pytest.mark.parametrize("given", ["dark.jpg", "array"])
    def test_a_name_of_another_format(self, enhancer, tmp_path, given):
        """The bytes would be those of the photograph's format, whatever the name says."""
        cv2.imwrite(str(tmp_path / "dark.jpg"), np.zeros((8, 8, 3), np.uint8))
        photograph = tmp_path / given if given == "dark.jpg" else np.zeros((8, 8, 3), np.uint8)
        output = tmp_path / ("bright.png" if given == "dark.jpg" else "bright.jpg")
        with pytest.raises(
            ConfigError, match=r"must end with \.jpg or" if given == "dark.jpg" else r"gives PNG.*\.png"
        ):
            Predictor(enhancer[0]).enhance(photograph, output)
        assert not output.exists()

    def test_it_is_no_classifier(self, enhancer):
        with pytest.raises(ConfigError, match="makes images: use enhance"):
            Predictor(enhancer[0]).classify(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(DataError, match="takes uint8 or uint16"):
            Predictor(enhancer[0]).enhance(np.zeros((8, 8, 3)))
