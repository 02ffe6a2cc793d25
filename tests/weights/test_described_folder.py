"""Folders with config.json: written whole or not at all, read back as the same network, and nothing silently wrong."""

import json

import numpy as np
import paddle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ppdeit
import ppvit
from ppcore import weights
from ppcore.config import components
from ppcore.errors import OutputError, PPError, WeightsError
from ppcore.weights.described_export import save_folder
from ppcore.weights.description import described_architecture
from ppcore.weights.processor_config import processor_config
from ppcore.weights.provenance import Provenance

TINY = dict(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=2)
STEPS = {
    "resize": {
        "name": "ppcore.data.Resize",
        "size": 10,
        "interpolation": "bilinear",
        "backend": "pil",
        "antialias": True,
    },
    "crop": {"name": "ppcore.data.CenterCrop", "size": 8},
    "normalize": {"name": "ppcore.data.Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
}
KNOWN = Provenance(classes=["cat", "dog"], preprocessing=STEPS, licence="mit")
X = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)


def tiny(**options) -> ppvit.VisionTransformer:
    return ppvit.VisionTransformer(**{**TINY, **options})


def answers(model) -> np.ndarray:
    model.eval()
    return model(paddle.to_tensor(X)).numpy()


@pytest.fixture
def folder(tmp_path):
    paddle.seed(1)
    save_folder(tiny(norm_eps=1e-5, act="gelu_tanh"), tmp_path / "vit", "transformers", KNOWN)
    return tmp_path / "vit"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ppvit.VisionTransformer, {}),
        (ppvit.VisionTransformer, dict(img_size=(8, 12), act="relu", norm_eps=1e-5, qkv_bias=False, mlp_dim=10)),
        (ppdeit.DeiT, {}),
        (ppdeit.DistilledVisionTransformer, dict(num_classes=3)),
    ],
)
def test_a_folder_is_the_same_network_again(tmp_path, kind, options):
    model = kind(**{**TINY, **options})
    path = tmp_path / "folder"
    save_folder(model, path, "transformers", Provenance())
    found = again(path)
    x = paddle.randn([2, 3, *model.patch_embed.img_size])
    model.eval(), found.eval()
    np.testing.assert_array_equal(found(x).numpy(), model(x).numpy())


def test_what_is_in_it(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "card.json", "config.json", "model.safetensors", "preprocessor_config.json",
    ]  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog"}
    assert (config["hidden_act"], config["layer_norm_eps"]) == ("gelu_pytorch_tanh", 1e-5)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert processor["size"] == {"shortest_edge": 10}
    assert processor["crop_size"] == {"height": 8, "width": 8}
    assert (processor["resample"], processor["image_mean"]) == (2, [0.5, 0.4, 0.3])
    assert weights.files.metadata(folder / "model.safetensors")["licence"] == "mit"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(pool="gap"), "pool=gap"),
        (dict(representation_size=4), "representation_size"),
        (dict(layer_scale_init=0.1), "LayerScale"),
        (dict(head_dim=8), "head_dim 8"),
        (dict(num_classes=0), "without a head"),
    ],
)
def test_what_it_cannot_express_is_one_line(tmp_path, options, word):
    with pytest.raises(WeightsError, match=word) as caught:
        save_folder(tiny(**options), tmp_path / "x", "transformers", KNOWN)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_head_of_two_and_hybrids_and_deit3(tmp_path):
    distilled = ppdeit.DistilledVisionTransformer(**TINY, eval_head="class")
    with pytest.raises(WeightsError, match="eval_head=mean"):
        save_folder(distilled, tmp_path / "x", "transformers", Provenance())
    hybrid = ppvit.vit_tiny_r_s16_p8_224(embed_dim=8, depth=1, num_heads=1, img_size=32)
    with pytest.raises(WeightsError, match="hybrid's convolutions"):
        save_folder(hybrid, tmp_path / "x", "transformers", Provenance())
    with pytest.raises(WeightsError, match="no weight layout 'transformers'"):
        save_folder(ppdeit.DeiT3(**TINY), tmp_path / "x", "transformers", Provenance())


def test_shapes_do_not_say_everything(folder):
    """Heads, activation and epsilon change the answers and not one shape."""
    with pytest.raises(WeightsError, match=r"build it with num_heads=2 act=gelu_tanh norm_eps=1e-05"):
        weights.load(tiny(num_heads=4), folder, source="transformers")
    with pytest.raises(WeightsError, match=r"the model has pool=gap, .* build it with pool=token"):
        weights.load(tiny(act="gelu_tanh", norm_eps=1e-5, pool="gap"), folder, source="transformers")
    weights.load(tiny(act="gelu_tanh", norm_eps=1e-5), folder, source="transformers")


def test_one_head_of_two_is_another_network(tmp_path):
    save_folder(ppdeit.DistilledVisionTransformer(**TINY), tmp_path / "deit", "transformers", Provenance())
    model = ppdeit.DistilledVisionTransformer(**TINY, eval_head="class")
    with pytest.raises(WeightsError, match="build it with eval_head=mean"):
        weights.load(model, tmp_path / "deit", source="transformers")


def test_no_head_is_built_larger_than_the_file(folder):
    arrays = {
        name: array for name, array in weights.read(folder / "model.safetensors").items() if "classifier" not in name
    }
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"]
    (folder / "config.json").write_text(json.dumps(config | {"num_labels": 2**30}))
    with pytest.raises(WeightsError, match="1073741824 classes"):
        described_architecture(folder, arrays, "transformers")


def test_names_of_newer_releases_and_of_trunks(folder, tmp_path):
    arrays = weights.read(folder / "model.safetensors")
    want = answers(load_into(folder))
    renamed = {}
    for name, array in arrays.items():
        for theirs, ours in (
            (".encoder.layer.", ".layers."), ("attention.attention.query", "attention.q_proj"),
            ("attention.attention.key", "attention.k_proj"), ("attention.attention.value", "attention.v_proj"),
            ("attention.output.dense", "attention.o_proj"), ("intermediate.dense", "mlp.fc1"), (".0.output.dense", ".0.mlp.fc2"),
        ):  # fmt: skip
            name = name.replace(theirs, ours)
        renamed[name] = array
    assert "vit.layers.0.mlp.fc2.weight" in renamed
    pooler = {"vit.pooler.dense.weight": np.ones((8, 8), np.float32), "vit.pooler.dense.bias": np.ones(8, np.float32)}
    weights.save_arrays(tmp_path / "new.safetensors", renamed | pooler, {"format": "pt"})
    model = tiny(norm_eps=1e-5, act="gelu_tanh")
    weights.load(model, tmp_path / "new.safetensors", source="transformers")
    np.testing.assert_array_equal(answers(model), want)
    trunk = {name.removeprefix("vit."): array for name, array in renamed.items() if not name.startswith("classifier")}
    weights.save_arrays(tmp_path / "trunk.safetensors", trunk, {"format": "pt"})
    notes = weights.load(model, tmp_path / "trunk.safetensors", source="transformers", new_head=True)
    assert notes == ["head: not in the file, 2 outputs initialised afresh: it is to be trained"]


def load_into(folder):
    model = tiny(norm_eps=1e-5, act="gelu_tanh")
    weights.load(model, folder, source="transformers")
    return model


class TestPlaces:
    def test_its_own_folder_is_replaced(self, folder):
        save_folder(tiny(), folder, "transformers", KNOWN)
        weights.load(tiny(), folder, source="transformers")
        assert [path.name for path in folder.parent.iterdir()] == ["vit"]

    @pytest.mark.parametrize("name", ["README.md", "notes.txt", "config.json"])
    def test_what_somebody_wrote_stays(self, folder, name):
        with (folder / name).open("a") as file:
            file.write("mine")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(OutputError, match="did not write, or that were edited"):
            save_folder(tiny(), folder, "transformers", KNOWN)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_a_failure_leaves_what_was_there(self, folder, monkeypatch):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}

        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ppcore.weights.described_export.write_card", fail)
        with pytest.raises(OutputError, match="No space left"):
            save_folder(tiny(), folder, "transformers", KNOWN)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert [path.name for path in folder.parent.iterdir()] == ["vit"]

    def test_not_even_when_nothing_can_be_put_in_its_place(self, folder, monkeypatch):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}

        def interrupted(self, target):
            raise KeyboardInterrupt

        monkeypatch.setattr("pathlib.Path.rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_folder(tiny(), folder, "transformers", KNOWN)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert [path.name for path in folder.parent.iterdir()] == ["vit"]

    def test_shards_and_empty_folders(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(WeightsError, match="a folder without model"):
            weights.load(tiny(), folder, source="transformers")
        (folder / "model.safetensors.index.json").write_text("{}")
        with pytest.raises(WeightsError, match="split over several files"):
            weights.load(tiny(), folder, source="transformers")


class TestPreprocessing:
    def test_a_fixed_size_without_a_crop(self):
        steps = {"resize": STEPS["resize"] | {"size": [8, 8]}, "normalize": STEPS["normalize"]}
        found, notes = processor_config(steps, (8, 8))
        assert found["image_processor_type"] == "ViTImageProcessor"
        assert found["size"] == {"height": 8, "width": 8}
        assert notes == []

    def test_what_differs_is_said(self):
        _, notes = processor_config(STEPS | {"resize": STEPS["resize"] | {"backend": "cv2"}}, (8, 8))
        assert "resizes with Pillow" in notes[0]
        assert "one pixel aside" in notes[1]

    def test_crops_within_crops(self):
        trim = {"name": "ppcore.data.CenterCrop", "size": 6}
        steps = {"crop": STEPS["crop"], "trim": trim, "normalize": STEPS["normalize"]}
        assert processor_config(steps, (6, 6))[0]["crop_size"] == {"height": 6, "width": 6}
        with pytest.raises(WeightsError, match="one crop"):
            processor_config(steps | {"trim": trim | {"size": 5}}, (5, 5))

    @pytest.mark.parametrize(
        ("steps", "word"),
        [
            ({"grey": {"name": "ppcore.data.Grayscale"}, **STEPS}, "transforms.grey: .* Grayscale"),
            (
                {"crop": STEPS["crop"], "resize": STEPS["resize"], "normalize": STEPS["normalize"]},
                "CenterCrop -> Resize",
            ),
            (STEPS | {"crop": {"name": "ppcore.data.CenterCrop", "size": 6}}, "network takes 8x8"),
            ({"resize": STEPS["resize"], "normalize": STEPS["normalize"]}, "network takes 8x8"),
            ({"normalize": {"name": "ppcore.data.Normalize", "mean": [0.5], "std": [0.5]}}, "3 channels"),
        ],
    )
    def test_what_cannot_be_said_is_an_error(self, steps, word):
        with pytest.raises(WeightsError, match=word):
            processor_config(steps, (8, 8))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def again(folder):
    """The network that a folder describes, with its weights."""
    model = components.build(described_architecture(folder, weights.read(folder / "model.safetensors"), "transformers"))
    assert weights.load(model, folder, source="transformers") == []
    return model


def one_line(error: Exception) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 2000


class TestDamage:
    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_config_is_right_or_one_line(self, folder, data):
        """Whatever stands there: a network that the weights fit, or one line; never a traceback or gigabytes."""
        path = folder / "config.json"
        original = path.read_text()
        config = json.loads(original)
        for key in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3)):
            if data.draw(st.booleans()):
                config[key] = data.draw(JSON)
            else:
                config.pop(key, None)
        try:
            path.write_text(json.dumps(config))
            again(folder)
        except PPError as error:
            one_line(error)
        finally:
            path.write_text(original)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(name=st.sampled_from(["config.json", "model.safetensors"]), data=st.data())
    def test_any_bytes_are_one_line(self, folder, name, data):
        path = folder / name
        original = path.read_bytes()
        at = data.draw(st.integers(0, min(len(original) - 1, 3000)))
        damaged = original[:at] + data.draw(st.binary(max_size=4)) + original[at + data.draw(st.integers(0, 40)) :]
        try:
            path.write_bytes(damaged)
            again(folder)
        except PPError as error:
            one_line(error)
        finally:
            path.write_bytes(original)

    @pytest.mark.parametrize(
        "text", ["", "[1]", "{", "[" * 100_000, "\udcff", '{"model_type": "vit", "hidden_size": 1e9}']
    )
    def test_by_the_tool(self, folder, text):
        (folder / "config.json").write_text(text, errors="surrogateescape")
        with pytest.raises(WeightsError, match=r"config\.json: "):
            described_architecture(folder, {}, "transformers")
