"""Exported folders: what they hold, when they are written, what they refuse."""

import importlib.util
import json
import sys

import paddle
import pytest

import ppvit
from ppcore.deploy import export, export_spec, manifest
from ppcore.deploy.code import reachable
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
        model = small()
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
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "thesis.txt").write_text("all of it")
        with pytest.raises(ConfigError, match="no export"):
            export.export_model(small(), mine, formats=["paddle"])
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
        model = small()
        folder = export.cached_export(model, tmp_path, formats=["paddle"])
        assert folder.parent == tmp_path / "exported"
        written = (folder / manifest.NAME).stat().st_mtime_ns
        assert export.cached_export(small(), tmp_path, formats=["paddle"]) == folder
        assert (folder / manifest.NAME).stat().st_mtime_ns == written
        model.head.bias.set_value(model.head.bias + 1)
        assert export.cached_export(model, tmp_path, formats=["paddle"]) != folder
        assert len(list(folder.parent.iterdir())) == 2, "nothing half-written stays"

    def test_damage_is_mended(self, tmp_path):
        folder = export.cached_export(small(), tmp_path, formats=["paddle"])
        (folder / "model.pdiparams").write_bytes(b"short")
        assert export.cached_export(small(), tmp_path, formats=["paddle"]) == folder
        manifest.check(folder, manifest.read(folder))

    def test_another_process_was_faster(self, tmp_path, monkeypatch):
        write, written = export.write_paddle, []

        def slow(stage, folder):
            if not written:
                written.append(None)
                written[0] = export.cached_export(small(), tmp_path, formats=["paddle"])
            write(stage, folder)

        monkeypatch.setattr(export, "write_paddle", slow)
        assert export.cached_export(small(), tmp_path, formats=["paddle"]) == written[0]
        manifest.check(written[0], manifest.read(written[0]))
        assert list(written[0].parent.iterdir()) == written, "nothing half-written stays"

    def test_a_full_disk_is_one_line(self, tmp_path, monkeypatch):
        def full(stage, folder):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(export, "write_paddle", full)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            export.cached_export(small(), tmp_path, formats=["paddle"])
        assert not list((tmp_path / "exported").iterdir())


class TestFingerprint:
    """Decides whether a cached export is still the network's."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """A user's own package: a layer, functions in modules of their own, something it never imports."""
        folder = tmp_path / "my_nets"
        (folder / "deep").mkdir(parents=True)
        files = {
            "__init__.py": "",
            "net.py": "import paddle.nn as nn\nfrom my_nets.middle import twice\n\n\nclass Net(nn.Layer):\n"
            "    def forward(self, x):\n        from my_nets import late\n\n        return late.same(twice(x))\n",
            "middle.py": "from .deep.functions import double\n\n\ndef twice(x):\n    return double(x)\n",
            "deep/__init__.py": "",
            "deep/functions.py": "def double(x):\n    return x * 2\n",
            "late.py": "import my_functions\n\n\ndef same(x):\n    return x\n",
            "unrelated.py": "",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        (tmp_path / "my_functions.py").write_text("def half(x):\n    return x / 2\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield folder
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_nets"]:
            del sys.modules[name]

    def fingerprint(self):
        net = importlib.import_module("my_nets.net").Net()
        stage = export_spec.Stage("model", net, {"x": (None, 3, None, None)}, ("y",))
        return export.fingerprint(export_spec.ExportSpec((stage,)), ["paddle"])

    @pytest.mark.parametrize("name", ["net.py", "middle.py", "deep/functions.py", "late.py", "../my_functions.py"])
    def test_code_that_the_forward_reaches(self, package, name):
        before = self.fingerprint()
        assert self.fingerprint() == before
        (package / name).write_text((package / name).read_text() + "\nCHANGED = True\n")
        assert self.fingerprint() != before

    def test_code_that_it_does_not(self, package):
        before = self.fingerprint()
        (package / "unrelated.py").write_text("CHANGED = True\n")
        assert self.fingerprint() == before

    def test_the_suites_own_functions(self):
        """`bilinear` holds functions only; no layer is of that module."""
        layers = {
            type(layer).__module__ for stage in tiny().export_spec().stages for layer in stage.layer.sublayers(True)
        }
        files = reachable(name for name in layers if not name.startswith("paddle."))
        assert "ppcore.layers.bilinear" not in layers
        assert files["ppcore.layers.bilinear"].read_text().startswith('"""')
        assert not [name for name in files if name.startswith(("paddle", "numpy", "ppcore.engine"))]

    def test_an_edit_of_the_suites_own_functions(self, tmp_path, monkeypatch):
        before = export.fingerprint(tiny().export_spec(), ["paddle"])
        edited = tmp_path / "bilinear.py"
        edited.write_bytes(reachable(["ppcore.layers.bilinear"])["ppcore.layers.bilinear"].read_bytes() + b"\n")
        monkeypatch.setattr(
            export, "reachable", lambda modules: {**reachable(modules), "ppcore.layers.bilinear": edited}
        )
        assert export.fingerprint(tiny().export_spec(), ["paddle"]) != before

    def test_another_paddle(self, monkeypatch):
        before = export.fingerprint(tiny().export_spec(), ["paddle"])
        monkeypatch.setattr(paddle, "__version__", "9.9.9")
        assert export.fingerprint(tiny().export_spec(), ["paddle"]) != before


class TestManifest:
    def test_damaged_missing_and_of_another_version(self, tmp_path):
        folder = export.export_model(small(), tmp_path / "out", formats=["paddle"])
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
