"""`tools/export_model.py` from weights to a folder with its card; what the card says loads."""

import importlib.util
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data

import ppvit
from ppcore import config, weights
from ppcore.engine import export_run
from ppcore.errors import ConfigError, DataError, OutputError

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
FORMATS = ["paddle", "onnx"] if importlib.util.find_spec("paddle2onnx") else ["paddle"]
STEPS = {
    "resize": {"name": "ppcore.data.Resize", "size": 16},
    "crop": {"name": "ppcore.data.CenterCrop", "size": 16},
    "normalize": {"name": "ppcore.data.Normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


@pytest.fixture
def settings(tmp_path):
    weights.save(ppvit.VisionTransformer(**TINY), tmp_path / "net.safetensors")
    data = {"dataset": {"name": "ppcore.data.Digits", "split": "test"}, "transforms": STEPS, "batch_size": 8}
    tree = {
        "Global": {"output_dir": str(tmp_path / "run"), "device": "cpu"},
        "Arch": {"name": "ppvit.VisionTransformer", **TINY},
        "DataLoader": {"Eval": data},
        "Export": {"formats": FORMATS, "licence": "mit", "output": str(tmp_path / "net")},
    }
    (tmp_path / "net.yaml").write_text(json.dumps(tree))
    return config.load(tmp_path / "net.yaml")


def test_the_cards_lines_load_what_is_there(settings, tmp_path):
    said = export_run.run(settings, config.Pretrained(path=str(tmp_path / "net.safetensors")))
    assert said == f"{tmp_path / 'net.safetensors'} -> {tmp_path / 'net'} ({', '.join(FORMATS)})"
    text = (tmp_path / "net" / "README.md").read_text()
    assert "license: mit" in text
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert set(card["files"]) == {p.name for p in (tmp_path / "net").iterdir()} - {"README.md", "card.json"}
    snippets = re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)
    assert len(snippets) == (3 if "onnx" in FORMATS else 1)
    cv2.imwrite(str(tmp_path / "photo.jpg"), skimage.data.coffee()[:, :, ::-1])
    for code in snippets:
        name = re.search(r"import (onnxruntime|openvino)|ppcore", code)[1]
        if name and importlib.util.find_spec(name) is None:
            continue
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{code}\n{done.stderr}"


def test_an_edited_card_stays(settings, tmp_path):
    given = config.Pretrained(path=str(tmp_path / "net.safetensors"))
    export_run.run(settings, given)
    export_run.run(settings, given)  # over its own
    (tmp_path / "net" / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="is not a card as this suite wrote it"):
        export_run.run(settings, given)
    assert (tmp_path / "net" / "README.md").read_text() == "mine"


@pytest.mark.skipif(
    not (importlib.util.find_spec("nncf") and importlib.util.find_spec("openvino") and "onnx" in FORMATS),
    reason="needs nncf, OpenVINO and paddle2onnx",
)
def test_with_an_int8_form(settings, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(24):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), np.roll(skimage.data.chelsea(), 9 * i, axis=1)[:, :, ::-1])
    override = [f"Export.int8.images={tmp_path / 'photos'}"]
    said = export_run.run(
        config.load(tmp_path / "net.yaml", override), config.Pretrained(path=str(tmp_path / "net.safetensors"))
    )
    assert said.endswith("(paddle, onnx, int8)")
    content = json.loads((tmp_path / "net" / "manifest.json").read_text())
    assert content["int8"]["images"] >= 4
    assert "model.int8.onnx" in content["files"]
    assert "model.int8.onnx" in json.loads((tmp_path / "net" / "card.json").read_text())["files"]


class TestNothingIsReplaced:
    """By an export that does not come to its end: what was there stays, and nothing is left beside it."""

    @pytest.fixture
    def before(self, settings, tmp_path):
        export_run.run(settings, config.Pretrained(path=str(tmp_path / "net.safetensors")))
        return self.content(tmp_path)

    def content(self, tmp_path):
        files = {path.name: path.read_bytes() for path in (tmp_path / "net").iterdir()}
        return files, sorted(path.name for path in tmp_path.iterdir())

    def again(self, tmp_path, *overrides):
        export_run.run(
            config.load(tmp_path / "net.yaml", overrides), config.Pretrained(path=str(tmp_path / "net.safetensors"))
        )

    def test_where_int8_is_not_possible(self, before, tmp_path, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *more: None if name == "nncf" else find(name, *more)
        )
        with pytest.raises(ConfigError, match=r"int8 (needs nncf|is made from the format onnx)"):
            self.again(tmp_path, "Export.int8.images=Eval")
        with pytest.raises(ConfigError, match="int8 is made from the format onnx, not from paddle: export that, too"):
            self.again(tmp_path, "Export.int8.images=Eval", "Export.formats=[paddle]")
        assert self.content(tmp_path) == before

    def test_where_it_fails(self, before, tmp_path, monkeypatch):
        """After the files of the export have been written."""

        def quantize(folder, images, **numbers):
            assert (folder / "manifest.json").is_file()
            raise DataError("int8: too few images")

        monkeypatch.setattr(export_run, "quantize", quantize)
        monkeypatch.setattr(export_run, "check_int8", lambda formats: None)
        with pytest.raises(DataError, match="too few images"):
            self.again(tmp_path, "Export.int8.images=Eval", "Global.seed=3")
        assert self.content(tmp_path) == before

    def test_where_somebody_has_put_something(self, before, tmp_path):
        (tmp_path / "net" / "labels.txt").write_text("mine")
        with pytest.raises(ConfigError, match=r"net: holds labels\.txt, which the export there did not write"):
            self.again(tmp_path)
        assert (tmp_path / "net" / "labels.txt").read_text() == "mine"
