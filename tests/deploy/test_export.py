"""Exported folders: what they hold, when they are written, what they refuse."""

import importlib.util
import json
from pathlib import Path

import paddle
import pytest

import ppvit
from ppcore.deploy import export, manifest, writers
from ppcore.errors import ConfigError, WeightsError
from ppllie.classical import Identity
from ppuhdfour import UHDFour

TINY = dict(scale=2, extract=4, widths=[4, 4, 4], fusion=4, fourier=False, adjust="residual")
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("paddle2onnx") is None, reason="paddle2onnx is not installed")


def tiny():
    paddle.seed(0)
    return UHDFour(**TINY)


def small():
    """One stage: written in a fifth of the time."""
    paddle.seed(0)
    return ppvit.VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=3)


class TestExportModel:
    def test_writes_files_and_their_hashes(self, tmp_path):
        folder = export.export_model(tiny(), tmp_path / "new" / "folder", formats=["paddle"])
        found = manifest.read(folder)
        assert found.arch == "UHDFour"
        assert [stage.name for stage in found.stages] == ["low", "high", "tail"]
        assert set(found.files) == {path.name for path in folder.iterdir()} - {manifest.NAME}
        manifest.check(folder, found)

    def test_the_model_can_still_train(self, tmp_path):
        model = ppvit.vit_tiny_patch16_224(img_size=16, num_classes=3)
        export.export_model(model, tmp_path / "out", formats=["paddle"])
        model.train()
        model(paddle.rand([1, 3, 16, 16])).sum().backward()

    @needs_onnx
    def test_onnx_has_the_stages_names(self, tmp_path):
        import onnx

        folder = export.export_model(tiny(), tmp_path / "out", formats=["onnx"])
        graph = onnx.load(str(folder / "low.onnx")).graph
        assert [value.name for value in graph.input] == ["x"]
        assert [value.name for value in graph.output] == ["y_low"]
        assert {path.suffix for path in folder.iterdir()} == {".onnx", ".json"}

    @needs_onnx
    def test_onnxruntime_finds_nothing_to_warn_of(self, tmp_path, capfd):
        onnxruntime = pytest.importorskip("onnxruntime")
        model = UHDFour(scale=4, extract=4, widths=[4, 8, 12], fusion=4)
        folder = export.export_model(model, tmp_path / "out", formats=["onnx"])
        capfd.readouterr()
        for path in sorted(folder.glob("*.onnx")):
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert capfd.readouterr().err == ""

    def test_replaces_an_export_and_nothing_else(self, tmp_path):
        export.export_model(small(), tmp_path / "out", formats=["paddle"])
        export.export_model(small(), tmp_path / "out", formats=["paddle"])
        assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing half-written stays"
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "thesis.txt").write_text("all of it")
        with pytest.raises(ConfigError, match="no export"):
            export.export_model(small(), mine, formats=["paddle"])
        assert (mine / "thesis.txt").read_text() == "all of it"

    @pytest.mark.parametrize("name", ["labels.txt", ".git"])
    def test_what_somebody_put_beside_an_export_stays(self, tmp_path, name):
        folder = export.export_model(small(), tmp_path / "out", formats=["paddle"])
        (folder / name).write_text("mine")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(ConfigError, match=rf"out: holds {name}, which the export there did not write"):
            export.export_model(small(), folder, formats=["paddle"])
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize("content", ['{"name": "my web page", "files": ["a"]}', "[]", "no JSON"])
    def test_a_manifest_of_something_else(self, tmp_path, content):
        (tmp_path / "src").mkdir()
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(ConfigError, match="holds files that are no export"):
            export.export_model(small(), tmp_path, formats=["paddle"])
        assert (tmp_path / "src").is_dir()

    def test_an_export_of_another_version_is_replaced(self, tmp_path):
        folder = export.export_model(small(), tmp_path / "out", formats=["paddle"])
        path = folder / manifest.NAME
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
        export.export_model(small(), folder, formats=["paddle"])
        assert manifest.read(folder).arch == "VisionTransformer"

    def test_the_export_before_stays_until_the_new_one_is_there(self, tmp_path, monkeypatch):
        folder = export.export_model(small(), tmp_path / "out", formats=["paddle"])
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        rename = Path.rename

        def fails(path, target):
            if Path(target) == folder and not path.name.endswith(".old"):
                raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fails)
        with pytest.raises(ConfigError, match="out: cannot be written: Input/output error"):
            export.export_model(small(), folder, formats=["paddle"])
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert list(tmp_path.iterdir()) == [folder]

    def test_a_link_to_a_folder(self, tmp_path):
        """Its target is written; the link stays."""
        (tmp_path / "disk").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "disk")
        for _ in range(2):
            export.export_model(small(), tmp_path / "out", formats=["paddle"])
        assert (tmp_path / "out").is_symlink()
        assert manifest.read(tmp_path / "disk").arch == "VisionTransformer"

    def test_a_network_that_paddle_cannot_trace_is_one_line(self, tmp_path):
        class Untraceable(paddle.nn.Layer):
            def forward(self, x):
                if not paddle.in_dynamic_mode():
                    raise TypeError("not in\na graph")
                return x

        with pytest.raises(ConfigError, match=r"Untraceable cannot be exported \(.*Infer\.engine=eager") as caught:
            export.export_model(Untraceable(), tmp_path / "out", formats=["paddle"])
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    @needs_onnx
    def test_more_weights_than_a_file_of_onnx_holds(self, tmp_path, monkeypatch):
        monkeypatch.setattr(writers, "ONNX_BYTES", 100)
        with pytest.raises(ConfigError, match=r"a file of ONNX holds 2\.1: export format paddle alone"):
            export.export_model(small(), tmp_path / "out", formats=["onnx"])
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("formats", [["tflite"], []])
    def test_unknown_formats(self, tmp_path, formats):
        with pytest.raises(ConfigError, match="format"):
            export.export_model(tiny(), tmp_path / "out", formats=formats)
        assert not (tmp_path / "out").exists()

    def test_a_missing_writer_is_named(self, tmp_path, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "paddle2onnx" else find(name))
        with pytest.raises(ConfigError, match=r"paddle2onnx.*deploy"):
            export.export_model(tiny(), tmp_path / "out", formats=["onnx"])

    def test_a_method_without_weights(self, tmp_path):
        with pytest.raises(ConfigError, match="without weights"):
            export.export_model(Identity(), tmp_path / "out", formats=["paddle"])


class TestManifest:
    def test_damaged_missing_and_of_another_version(self, tmp_path):
        folder = export.export_model(tiny(), tmp_path / "out", formats=["paddle"])
        text = (folder / manifest.NAME).read_text()
        for content in ("", "{}", "[]", text[: len(text) // 2], json.dumps({**json.loads(text), "extra": 1})):
            (folder / manifest.NAME).write_text(content)
            with pytest.raises(WeightsError, match=r"manifest.json: damaged"):
                manifest.read(folder)
        (folder / manifest.NAME).write_text(json.dumps({**json.loads(text), "version": 99}))
        with pytest.raises(WeightsError, match="version 99"):
            manifest.read(folder)
        (folder / manifest.NAME).unlink()
        with pytest.raises(WeightsError, match="no exported model"):
            manifest.read(folder)
