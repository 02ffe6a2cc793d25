"""`tools/infer.py` with a classifier: photographs of any size, engines, several processes, what is refused and said."""

import importlib.util
import json

import cv2
import numpy as np
import paddle
import pytest
import skimage.data
import skimage.io

import ppvit
from ppcore import config, weights
from ppcore.data import CenterCrop, Normalize, Resize
from ppcore.deploy import networks
from ppcore.deploy.engine_choice import ENGINES
from ppcore.engine import predict
from ppcore.engine.attention_pictures import seen
from ppcore.engine.build import eval_loader
from ppcore.engine.distributed import World
from ppcore.engine.input_check import check_input
from ppcore.errors import ConfigError, DataError

ONNX = importlib.util.find_spec("paddle2onnx") is not None
USABLE = [
    name for name, (module, *_) in ENGINES.items() if importlib.util.find_spec(module) and (name == "paddle" or ONNX)
]
RNG = np.random.default_rng(0)
TINY = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}


@pytest.fixture
def trained(tiny_config, tmp_path):
    """A configuration, the options that name weights, and seven pictures of its size."""
    paddle.seed(0)
    weights.save(ppvit.VisionTransformer(**TINY), tmp_path / "tiny.safetensors")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        cv2.imwrite(str(folder / f"{i}.png"), RNG.integers(0, 256, (8, 8, 3), np.uint8))
    return tiny_config, tmp_path / "tiny.safetensors", folder


def infer(trained, *overrides):
    tiny_config, file, folder = trained
    return predict.run(config.load(tiny_config, [f"Infer.input={folder}", *overrides]), str(file))


def test_readmes_example_on_photographs(root, tmp_path, tool):
    """As README has it, after a short training: photographs of several sizes, in colour."""
    (tmp_path / "photos").mkdir()
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()[:, 40:240]]
    for i, picture in enumerate(pictures):
        skimage.io.imsave(tmp_path / "photos" / f"{i}.jpg", picture)
    digits = root / "configs" / "quick" / "vit_digits.yaml"
    options = ("-o", "Global.duration={steps: 2}", "-o", "Global.device=cpu", "-o", "Global.visualdl=false")
    done = tool("train", "-c", digits, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = tool("infer", "-c", digits, "-o", "Infer.input=photos", "-o", "Infer.rollout=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    written = json.loads((tmp_path / "output" / "vit_digits" / "infer" / "predictions.json").read_text())
    for record, picture in zip(written["images"], pictures, strict=True):
        side = min(picture.shape[:2])
        assert cv2.imread(str(tmp_path / record["rollout"])).shape == (side, side, 3), "the part that was looked at"


def test_its_transforms_leave_the_digits_alone(root):
    part = config.load(root / "configs" / "quick" / "vit_digits.yaml").DataLoader.Eval
    images = predict.build.components.build(part.dataset)
    [batch] = eval_loader(part, images, World(0, 1, "cpu"))
    expected = Normalize(mean=[0.5] * 3, std=[0.5] * 3).batch(images.images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(batch["image"], expected)


class TestSeen:
    def test_is_what_the_transforms_leave(self):
        """A picture whose pixels say where they are; the transforms at full resolution and at low agree on the corners."""
        for height, width, resize, crop in [
            (60, 100, 30, 20),
            (100, 60, 30, 30),
            (64, 64, 8, 8),
            (50, 80, [20, 40], 16),
        ]:
            rows, columns = np.mgrid[:height, :width]
            image = np.stack([rows, columns, rows], -1).astype(np.uint8)
            small = CenterCrop(crop)(Resize(resize, "box")(image))
            large = seen(image, [Resize(resize, "box"), CenterCrop(crop)])
            again = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
            assert np.abs(again.astype(int) - small).max() <= 1

    def test_a_crop_larger_than_the_image_is_black_around_it(self):
        image = np.full((6, 9, 3), 200, np.uint8)
        np.testing.assert_array_equal(seen(image, [CenterCrop(12)]), CenterCrop(12)(image))

    def test_without_geometry_it_is_the_image(self):
        image = RNG.integers(0, 256, (6, 9, 3), np.uint8)
        np.testing.assert_array_equal(seen(image, [Normalize(mean=[0.5] * 3, std=[0.5] * 3)]), image)


class TestEngines:
    @pytest.mark.parametrize("engine", USABLE)
    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    def test_name_the_same_classes_as_the_model_does(self, trained, engine, batch_size):
        options = (f"Infer.batch_size={batch_size}", "Infer.topk=10")
        expected = infer(trained, *options, "Infer.engine=eager")
        found = infer(trained, *options, f"Infer.engine={engine}")
        assert len(found) == 7
        for one, other in zip(found, expected, strict=True):
            assert [c["class"] for c in one["topk"]] == [c["class"] for c in other["topk"]]
            np.testing.assert_allclose(
                [c["probability"] for c in one["topk"]], [c["probability"] for c in other["topk"]], atol=1e-5
            )
        assert len(list(trained[1].parent.glob("run/exported/*"))) == 1

    def test_the_log_says_what_computes(self, trained, monkeypatch):
        said = []
        for log in (networks.log, predict.log):
            monkeypatch.setattr(log, "info", lambda text, *values: said.append(text % values))
        infer(trained)
        few = "so few images that exporting the network would take longer"
        assert f"VisionTransformer on eager Paddle {paddle.__version__}, cpu ({few})" in said
        monkeypatch.setattr("ppcore.deploy.predictor.log.info", lambda text, *values: said.append(text % values))
        infer(trained, "Infer.engine=paddle")
        assert any(line.startswith("VisionTransformer on Paddle Inference") for line in said)

    def test_a_batch_that_is_not_full_is_filled_up(self):
        shapes = []

        def compute(x):
            shapes.append(x.shape[0])
            return x.sum(axis=(1, 2, 3))[:, None]

        fixed = networks.FixedBatch(compute)
        for count in (4, 4, 1):
            x = RNG.random((count, 3, 2, 2), np.float32)
            np.testing.assert_array_equal(fixed(x), x.sum(axis=(1, 2, 3))[:, None])
        assert shapes == [4, 4, 4]

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["Infer.engine=paddle", "Infer.rollout=true"], "Infer.rollout needs .*set Infer.engine=eager"),
            (
                ["Infer.engine=eager", "Infer.precision=bf16"],
                "Infer.precision: bf16 needs an exported network; set Infer.engine",
            ),
            (
                ["Infer.engine=eager", "Infer.precision=int8"],
                "Infer.precision: int8 needs an export that has this form",
            ),
            (["Infer.engine=onnxruntime", "Infer.precision=bf16"], "bf16|paddle2onnx"),
            (["Infer.tile=64"], "Infer.tile: VisionTransformer makes no images"),
        ],
    )
    def test_what_does_not_go_together(self, trained, overrides, message):
        with pytest.raises(ConfigError, match=message) as caught:
            infer(trained, *overrides)
        assert "\n" not in str(caught.value)


class TestSizes:
    def test_pictures_of_another_size_are_one_line(self, trained):
        cv2.imwrite(str(trained[2] / "large.png"), RNG.integers(0, 256, (20, 30, 3), np.uint8))
        with pytest.raises(
            ConfigError, match=r"DataLoader.Eval.transforms give images of 20x30.*takes 8x8.*CenterCrop"
        ):
            infer(trained, "Infer.batch_size=1")

    @pytest.mark.parametrize("name", ["train", "eval"])
    def test_in_training_and_evaluation_too(self, trained, tool, name):
        more = () if name == "train" else ("--weights", trained[1])
        done = tool(name, "-c", trained[0], *more, "-o", "DataLoader.Eval.dataset.image_size=16")
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "DataLoader.Eval.transforms give images of 16x16" in done.stderr.splitlines()[-1]
        assert "takes 8x8" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    def test_training_images(self):
        model = ppvit.VisionTransformer(**{**TINY, "img_size": (8, 12)})
        check_input(model, np.zeros((2, 3, 8, 12)), "Train")
        with pytest.raises(ConfigError, match=r"DataLoader.Train.*12x8.*takes 8x12.*size: \[8, 12\].*Arch.img_size"):
            check_input(model, paddle.zeros([2, 3, 12, 8]), "Train")

    def test_a_network_that_takes_any(self):
        check_input(paddle.nn.Conv2D(3, 3, 1), np.zeros((1, 3, 5, 7)), "Eval")


class TestNames:
    def test_as_many_as_outputs(self, trained, tmp_path):
        names = tmp_path / "names.txt"
        names.write_text("\n".join("abcdefghij") + "\n\n")
        assert infer(trained, f"Infer.class_names={names}")[0]["topk"][0]["name"] in "abcdefghij"
        for given in ("[a, b]", f"[{', '.join('abcdefghijk')}]"):
            with pytest.raises(ConfigError, match=r"names for a network with 10 outputs"):
                infer(trained, f"Infer.class_names={given}")

    def test_a_file_that_is_not_there_or_no_text(self, trained, tmp_path):
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        for name in ("absent", "binary", "x" * 300):
            with pytest.raises(ConfigError, match=r"Infer.class_names: cannot read"):
                infer(trained, f"Infer.class_names={tmp_path / name}")


def test_an_output_folder_that_cannot_be_made(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Infer.output.*cannot be made"):
        infer(trained, f"Infer.output={tmp_path / 'file' / 'below'}")


def test_progress_is_said(trained, monkeypatch):
    said = []
    monkeypatch.setattr(predict.log, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr("ppcore.engine.pace.FIRST", 0.0)
    infer(trained, "Infer.batch_size=2")
    assert said[0] == "7 images found"
    assert any("/7 images, " in line and "images/s, eta " in line for line in said)


def test_several_processes_write_one_file(trained, tmp_path, tool):
    tiny_config, file, folder = trained
    (folder / "broken.png").write_bytes(b"no image")
    command = ("-c", tiny_config, "--weights", file, "-o", f"Infer.input={folder}", "-o", "Global.device=cpu")
    options = ("-o", "Infer.engine=paddle", "-o", "Infer.batch_size=2")
    one = tool("infer", *command, *options, "-o", f"Infer.output={tmp_path / 'one'}")
    assert one.returncode == 0, one.stderr
    two = tool(
        "infer", *command, *options, "-o", f"Infer.output={tmp_path / 'two'}", launch=2, log_dir=tmp_path / "log"
    )
    assert two.returncode == 0, two.stdout + two.stderr
    found, expected = (json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("two", "one"))
    assert [record["file"] for record in found["images"]] == [str(folder / f"{i}.png") for i in range(7)]
    assert found["skipped"] == expected["skipped"] == 1
    for a, b in zip(found["images"], expected["images"], strict=True):
        assert a["topk"][0]["class"] == b["topk"][0]["class"]
    lines = [line for line in two.stdout.splitlines() if line.startswith(str(folder))]
    assert lines == one.stdout.splitlines(), "each once, in order"
    assert "skipped: " in two.stdout + two.stderr
