"""tools/convert_weights.py and export_weights.py on the files people have."""

import json
import zipfile

import numpy as np
import paddle
import pytest

import ppvit
from ppcore import weights
from ppcore.config import catalogue
from ppcore.errors import ConfigError, OutputError, WeightsError
from ppcore.weights.translation import Said, translate

TINY = dict(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=4)
ARCH = "ppvit.VisionTransformer"


@pytest.fixture
def model():
    paddle.seed(5)
    return ppvit.VisionTransformer(**TINY)


def converted(path, source, out, arguments=None, layout="paddle", **said) -> list[str]:
    return translate(Said(path, source, **said), ARCH, arguments or TINY, out, layout)


def same(model, path) -> bool:
    got = weights.read(path)
    return all(np.array_equal(got[name], tensor.numpy()) for name, tensor in model.state_dict().items())


class TestWhatUsersHave:
    """Paddle's own files: PaddleClas's, nested in a training's, behind DataParallel."""

    def test_paddleclas(self, tmp_path, model):
        weights.save(model, tmp_path / "vit.pdparams", layout="paddleclas")
        assert converted(tmp_path / "vit.pdparams", "paddleclas", tmp_path / "x.safetensors") == []
        assert same(model, tmp_path / "x.safetensors")

    @pytest.mark.parametrize("key", ["state_dict", "model", "model_ema", "whatever"])
    @pytest.mark.parametrize("prefix", ["", "module.", "_layers.", "_orig_mod.", "module._orig_mod."])
    def test_entries_and_prefixes(self, tmp_path, model, key, prefix):
        state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
        paddle.save({key: state, "epoch": 3, "optimizer": {"state": {}}}, str(tmp_path / "a.pdparams"))
        notes = converted(tmp_path / "a.pdparams", "paddleclas", tmp_path / "x.safetensors")
        assert notes[0] == f"weights taken from the file's entry '{key}'"
        assert len(notes) == 1 + prefix.count(".")
        assert same(model, tmp_path / "x.safetensors")

    def test_two_candidates_are_asked_about(self, tmp_path, model):
        state = dict(model.state_dict())
        average = {name: tensor * 0.5 for name, tensor in state.items()}
        paddle.save({"model": state, "model_ema": average, "epoch": 3}, str(tmp_path / "a.pdparams"))
        with pytest.raises(WeightsError, match="'model', 'model_ema': say which to take with --key") as caught:
            converted(tmp_path / "a.pdparams", "paddleclas", tmp_path / "x.safetensors")
        assert "\n" not in str(caught.value)
        converted(tmp_path / "a.pdparams", "paddleclas", tmp_path / "x.safetensors", key="model_ema")
        np.testing.assert_array_equal(
            weights.read(tmp_path / "x.safetensors")["cls_token"], average["cls_token"].numpy()
        )

    def test_no_code_is_run(self, tmp_path):
        (tmp_path / "a.pdparams").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
        with pytest.raises(WeightsError, match="refused"):
            converted(tmp_path / "a.pdparams", "paddleclas", tmp_path / "x.safetensors")
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("a/data.pkl", b"cos\nsystem\n(S'ls'\ntR.")
        with pytest.raises(WeightsError, match="refused"):
            converted(tmp_path / "a.pth", "timm", tmp_path / "x.safetensors")
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "x.safetensors").exists()


class TestOtherSizes:
    def test_classes(self, tmp_path, model):
        weights.save(model, tmp_path / "a.safetensors", layout="timm")
        with pytest.raises(WeightsError, match=r"head.weight .*new_head"):
            converted(tmp_path / "a.safetensors", "timm", tmp_path / "x.safetensors", TINY | {"num_classes": 7})
        notes = converted(
            tmp_path / "a.safetensors", "timm", tmp_path / "x.safetensors", TINY | {"num_classes": 7}, new_head=True
        )  # fmt: skip
        assert notes == ["head: 4 outputs in the file, 7 outputs initialised afresh: it is to be trained"]
        got = weights.read(tmp_path / "x.safetensors")
        assert got["head.weight"].shape == (8, 7)
        np.testing.assert_array_equal(got["norm.weight"], model.norm.weight.numpy())
        card = json.loads((tmp_path / "x.card.json").read_text())["provenance"]
        assert card["changes"] == notes
        assert card["architecture"]["num_classes"] == 7

    def test_image(self, tmp_path, model):
        weights.save(model, tmp_path / "a.safetensors", layout="timm")
        notes = converted(tmp_path / "a.safetensors", "timm", tmp_path / "x.safetensors", TINY | {"img_size": 16})
        assert notes == ["position embedding: 2x2 grid resampled to 4x4 (timm_bicubic_antialias)"]
        assert weights.read(tmp_path / "x.safetensors")["pos_embed"].shape == (1, 17, 8)

    def test_by_the_tools(self, tmp_path, model, tool, tiny_config):
        weights.save(model, tmp_path / "a.safetensors", layout="timm")
        words = [word for key, value in TINY.items() for word in ("-o", f"{key}={value}")]
        done = tool(
            "convert_weights", "--arch", ARCH, "--source", "timm", "--input", "a.safetensors", "--output", "x.safetensors",
            *words, "--num-classes", 7, "--image-size", 16, "--licence", "cc-by-4.0", "--origin", "somebody", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        assert [line.partition(":")[2].split(":")[0].strip() for line in said[:2]] == ["position embedding", "head"]
        made = ppvit.VisionTransformer(**TINY | {"num_classes": 10, "img_size": 16})
        start = ["-o", f"Arch={{name: {ARCH}, img_size: 16, patch_size: 4, embed_dim: 8, depth: 1, num_heads: 2}}"]
        done = tool(
            "export_weights", "-c", tiny_config, *start, "--weights", "x.safetensors", "--num-classes", 10,
            "--image-size", 16, "--layout", "timm", "--output", "y.safetensors", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "note: head: 7 outputs in the file, 10 outputs initialised afresh" in done.stdout
        weights.load(made, tmp_path / "y.safetensors", source="timm")
        card = json.loads((tmp_path / "y.card.json").read_text())["provenance"]
        assert (card["licence"], card["origin"]) == ("cc-by-4.0", "somebody")  # carried along by the file
        assert card["metrics"] == []


def test_a_folder_says_its_network(tmp_path, model):
    weights.save(model, tmp_path / "a.safetensors", layout="timm")
    with pytest.raises(ConfigError, match="--arch is missing"):
        translate(Said(tmp_path / "a.safetensors", "timm"), None, {}, tmp_path / "x.safetensors", "paddle")
    notes = converted(tmp_path / "a.safetensors", "timm", tmp_path / "folder", layout="transformers")
    assert "preprocessor_config.json is not written" in notes[0]
    said = Said(tmp_path / "folder", "transformers")
    assert translate(said, None, {}, tmp_path / "x.safetensors", "paddle") == []
    assert same(model, tmp_path / "x.safetensors")
    with pytest.raises(OutputError, match="holds what is read"):
        translate(said, None, {}, tmp_path / "folder", "transformers")
    with pytest.raises(WeightsError, match="is a folder: give one without"):
        translate(said, None, {}, tmp_path / "y.safetensors", "transformers")


@pytest.mark.parametrize("text", ["[not JSON", '{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}'])
def test_a_config_beside_another_layouts_file_says_nothing(tmp_path, model, text):
    weights.save(model, tmp_path / "a.safetensors", layout="timm")
    (tmp_path / "config.json").write_text(text)
    converted(tmp_path / "a.safetensors", "timm", tmp_path / "x.safetensors")
    assert json.loads((tmp_path / "x.card.json").read_text())["provenance"]["classes"] is None


def test_a_folders_name_may_have_a_dot(tmp_path, model):
    weights.save(model, tmp_path / "a.safetensors", layout="timm")
    converted(tmp_path / "a.safetensors", "timm", tmp_path / "vit-1.5", layout="transformers")
    assert (tmp_path / "vit-1.5" / "config.json").is_file()
    with pytest.raises(WeightsError, match="weights are written as"):
        converted(tmp_path / "a.safetensors", "timm", tmp_path / "x.onnx")


def test_a_representation_layer_that_is_left_out_is_a_change(tmp_path):
    model = ppvit.VisionTransformer(**TINY, representation_size=8)
    weights.save(model, tmp_path / "a.safetensors", layout="timm")
    notes = converted(tmp_path / "a.safetensors", "timm", tmp_path / "x.safetensors", new_head=True)
    assert notes == ["pre_logits: left out, the model has none"]
    assert json.loads((tmp_path / "x.card.json").read_text())["provenance"]["changes"] == notes


def test_the_list_is_what_packages_register(tool):
    done = tool("export_weights", "--list")
    assert done.returncode == 0, done.stderr
    for name, layouts in catalogue.layouts_by_model().items():
        assert f"  {name}: {', '.join(layouts)}\n" in done.stdout
    assert "  ppvit.vit_tiny_patch16_224: paddle, big_vision, can, deit, google" in done.stdout
    assert done.stdout.count("\n") > 50
