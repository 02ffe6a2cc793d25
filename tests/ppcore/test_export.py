"""Exported folders: what they hold, when they are written, what they refuse."""

import importlib.util
import json

import paddle
import pytest

import ppvit
from ppcore import export
from ppcore.deploy import manifest
from ppcore.errors import ConfigError, WeightsError
from ppuhdfour import UHDFour
from ppuhdfour.classical import Identity

TINY = dict(scale=2, extract=4, widths=[4, 4, 4], fusion=4, fourier=False, adjust="residual")
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("paddle2onnx") is None, reason="paddle2onnx is not installed")


def tiny():
    paddle.seed(0)
    return UHDFour(**TINY)


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
        export.export_model(tiny(), tmp_path / "out", formats=["paddle"])
        export.export_model(tiny(), tmp_path / "out", formats=["paddle"])
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "thesis.txt").write_text("all of it")
        with pytest.raises(ConfigError, match="no export"):
            export.export_model(tiny(), mine, formats=["paddle"])
        assert (mine / "thesis.txt").read_text() == "all of it"

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


class TestCachedExport:
    def test_is_written_once_and_anew_for_other_weights(self, tmp_path):
        weights = tmp_path / "weights.pdparams"
        weights.touch()
        model = tiny()
        folder = export.cached_export(model, weights, formats=["paddle"])
        assert folder.parent == tmp_path / "exported"
        written = (folder / manifest.NAME).stat().st_mtime_ns
        assert export.cached_export(tiny(), weights, formats=["paddle"]) == folder
        assert (folder / manifest.NAME).stat().st_mtime_ns == written
        model.low.conv_in.bias.set_value(model.low.conv_in.bias + 1)
        assert export.cached_export(model, weights, formats=["paddle"]) != folder
        assert len(list(folder.parent.iterdir())) == 2, "nothing half-written stays"

    def test_damage_is_mended(self, tmp_path):
        folder = export.cached_export(tiny(), tmp_path, formats=["paddle"])
        (folder / "tail.pdiparams").write_bytes(b"short")
        assert export.cached_export(tiny(), tmp_path, formats=["paddle"]) == folder
        manifest.check(folder, manifest.read(folder))


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
