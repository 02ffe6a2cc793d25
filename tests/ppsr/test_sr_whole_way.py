"""A user's way: train, evaluate, enlarge files, export, `Predictor`, enlarge with the export: one number, one picture."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, run_tool
from paddle import nn
from PIL import Image
from skimage import data
from sr_reference import randomized

import ppsr
from ppcore import config, weights
from ppcore.config import components
from ppcore.data.images.matlab_resize import imresize, modcrop
from ppcore.data.images.ycbcr import y_of
from ppcore.deploy import Predictor, export_model
from ppcore.deploy.networks import eager
from ppcore.engine import enhance_files, evaluate, export_run, predict, run_export
from ppcore.engine.train import train
from ppcore.errors import ConfigError
from ppcore.metrics.psnr_ssim import psnr

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
SCALE = 2
FORMATS = ["onnx", "paddle"] if importlib.util.find_spec("paddle2onnx") else ["paddle"]
ENGINES = [engine for engine in ("openvino", "onnxruntime") if "onnx" in FORMATS] + ["paddle"]
NETWORKS = {  # arch; input of training and evaluation; windows; what Infer and the predictor are told
    "srcnn": ({"name": "ppsr.SRCNN", "form": "9-1-5", "widths": [8, 4]}, "bicubic", 12, {"scale": SCALE}),
    "fsrcnn": ({"name": "ppsr.FSRCNN", "scale": SCALE, "d": 8, "s": 4, "m": 1}, "lr", 6, {}),
    "srresnet": ({"name": "ppsr.SRResNet", "scale": SCALE, "width": 4, "blocks": 1}, "lr_rgb", 6, {}),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two to test on, one of them grey, whose sides are odd; and their 8-bit copies of low resolution."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "lr").mkdir()
    cat = data.chelsea()[100:177, 120:211]
    for name, pixels in (("cat", cat), ("grey", data.camera()[60:121, 200:263])):
        Image.fromarray(pixels).save(folder / f"{name}.png")
        Image.fromarray(imresize(modcrop(pixels, SCALE), 1 / SCALE)).save(folder / "lr" / f"{name}.png")
    return folder


def start(model) -> None:
    """Weights that leave an image much as it is, enlarged linearly, so that results are no noise."""
    for parameter in model.parameters():
        parameter.set_value(parameter * 0.02 if parameter.ndim > 1 else parameter)
    for layer in model.sublayers():
        if isinstance(layer, nn.Conv2D | nn.Conv2DTranspose):
            weight = layer.weight.numpy()
            side = np.arange(weight.shape[2]) - weight.shape[2] // 2
            ramp = np.maximum(0, 1 - np.abs(side) / (SCALE if isinstance(layer, nn.Conv2DTranspose) else 1))
            weight[0, 0] += np.outer(ramp, ramp)
            layer.weight.set_value(weight)


def settings_of(name: str, folder: Path, photographs: Path) -> config.Config:
    arch, given, size, _ = NETWORKS[name]
    shared = {"scale": SCALE, "input": given, "protocol": "lr_u8"}
    source = {"name": "ppsr.ImagesOf", "root": str(photographs), "folder": "."}
    rate = {"name": "ppcore.schedules.Constant", "base_lr": 1e-5}
    model = components.build(arch)
    if name != "srresnet":
        start(model)
    weights.save(model, folder / "start.safetensors")
    tree = {
        "Global": {
            "output_dir": str(folder / "run"),
            "device": "cpu",
            "duration": {"steps": 2},
            "visualdl": False,
            "pretrained": str(folder / "start.safetensors"),
        },
        "Arch": arch,
        "Loss": {"name": "ppsr.SquaredError"},
        "Optimizer": {"name": "ppcore.optim.Adam", "lr": rate},
        "DataLoader": {
            "Train": {
                "dataset": {"name": "ppsr.SubImages", "source": source, "size": size, "stride": size, **shared},
                "batch_size": 4,
            },
            "Eval": {"dataset": {"name": "ppsr.DegradedImages", "source": source, **shared}, "batch_size": 1},
        },
        "Metric": {"name": "ppsr.LumaQuality", "protocol": "lr_u8", "pixels": "rounded"},
        "Infer": {"input": str(photographs / "lr"), "output": str(folder / "files"), **NETWORKS[name][3]},
        "Export": {"formats": FORMATS, "output": str(folder / "export")},
    }
    (folder / "sr.yaml").write_text(yaml.safe_dump(tree))
    return config.load(folder / "sr.yaml")


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def number(picture: np.ndarray, photograph: Path) -> float:
    """PSNR-Y of a written file, by hand."""
    inside = slice(SCALE, -SCALE)
    image, target = (
        y_of(each)[inside, inside] for each in (picture, modcrop(np.asarray(Image.open(photograph)), SCALE))
    )
    return psnr(image, target)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_number_and_one_picture_at_every_stop(name, photographs, tmp_path):
    settings, told = settings_of(name, tmp_path, photographs), NETWORKS[name][3]
    train(settings)
    evaluated = evaluate.run(settings)
    numbers = {image["image"]: image["psnr_y_rounded"] for image in evaluated["images"]}

    predict.run(settings)
    files = pictures(tmp_path / "files")
    assert {stem: picture.shape for stem, picture in files.items()} == {"cat": (76, 90, 3), "grey": (60, 62)}
    # Of a grey photograph's Y, and of colours that the network makes, the file is what was measured; of other colours it is
    # their Y after they have been rounded to 8 bits. A grey photograph in three colours is measured as such, and written grey.
    for stem, picture in files.items():
        if stem == "grey" and name == "srresnet":
            continue
        exact = (stem == "grey" and name != "srresnet") or (stem == "cat" and name == "srresnet")
        assert abs(number(picture, photographs / f"{stem}.png") - numbers[stem]) < (1e-9 if exact else 0.05), stem

    export_run.run(settings)
    for engine in ENGINES:
        again = evaluate.run(
            settings.model_copy(update={"Infer": settings.Infer.model_copy(update={"engine": engine})})
        )
        for image in again["images"]:
            assert abs(image["psnr_y_rounded"] - numbers[image["image"]]) < 1e-3
        predictor = Predictor(tmp_path / "export", engine, quiet=True)
        overrides = [f"Infer.engine={engine}", f"Infer.output={tmp_path / engine}"]
        overrides += [f"Infer.{key}={value}" for key, value in told.items()]
        run_export.run(tmp_path / "export", config.infer_section(overrides, [str(photographs / "lr")]))
        for stem, picture in pictures(tmp_path / engine).items():
            np.testing.assert_array_equal(
                predictor.enhance(photographs / "lr" / f"{stem}.png", **told).squeeze(), picture
            )
            assert (
                np.abs(picture.astype(int) - files[stem]).max() <= 1
            )  # another engine: a sample on the other side of a half
            assert (picture != files[stem]).mean() < 1e-3


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export of SRCNN with its first weights."""
    model = ppsr.SRCNN(form="9-1-5", widths=[4, 4])
    return export_model(model, tmp_path_factory.mktemp("exported") / "srcnn", FORMATS)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "keys", "message"),
        [
            (
                "srcnn",
                {"scale": None},
                "Infer.scale is not set: ppsr.SRCNN is given photographs that are enlarged already",
            ),
            ("fsrcnn", {"scale": 3.0}, "Infer.scale is 3, but ppsr.FSRCNN enlarges by 2: leave it out"),
        ],
    )
    def test_a_scale_that_does_not_fit(self, name, keys, message, photographs, tmp_path):
        settings = settings_of(name, tmp_path, photographs)
        settings = settings.model_copy(update={"Infer": settings.Infer.model_copy(update=keys)})
        with pytest.raises(ConfigError, match=message):
            enhance_files.run(settings, components.build(settings.Arch), "weights", "cpu")
        assert not (tmp_path / "files").exists()

    @pytest.mark.parametrize("keys", [{"scale": 0.5}, {"scale": 17}, {"scale": "twice"}])
    def test_no_scale(self, keys):
        with pytest.raises(ConfigError, match=r"Infer\.scale"):
            config.infer_section([f"Infer.scale={keys['scale']}"])

    def test_an_export_that_needs_a_scale(self, exported, photographs):
        with pytest.raises(ConfigError, match="scale is not set: SRCNN is given"):
            Predictor(exported, quiet=True).enhance(photographs / "cat.png")
        done = run_tool("infer", "--export", exported, photographs / "cat.png")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: Infer.scale is not set: SRCNN is given")

    def test_a_classifier_has_none(self):
        with pytest.raises(ConfigError, match=r"Infer\.scale: Net makes no images; leave it out"):
            config.InferSection(scale=2).refuse_image_keys("Net")


def test_without_paddle_and_without_the_paper(exported, photographs, tmp_path):
    """An exported folder is all that is needed; any scale is one more argument."""
    if "onnx" not in FORMATS:
        pytest.skip("paddle2onnx is not installed")
    code = (
        "import json, sys\n"
        "from ppcore.deploy import Predictor\n"
        "p = Predictor(sys.argv[1])\n"
        "print(json.dumps([p.enhance(sys.argv[2], sys.argv[3], scale=2.5).shape, sorted(sys.modules)]))"
    )
    command = [sys.executable, "-c", code, exported, photographs / "grey.png", tmp_path / "large.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    small = np.asarray(Image.open(photographs / "cat.png"))
    predictor = Predictor(exported, quiet=True)
    of_file = predictor.enhance(photographs / "cat.png", scale=2)
    np.testing.assert_array_equal(predictor.enhance(small, tmp_path / "array.png", scale=2), of_file)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "array.png")), of_file)
    shape, modules = json.loads(done.stdout.splitlines()[-1])
    assert shape == [153, 158, 1]
    assert not {"paddle", "ppsr", "ppcore.config", "ppcore.engine"} & set(modules)
    assert np.asarray(Image.open(tmp_path / "large.png")).shape == (153, 158)


def test_bicubic_itself_enlarges_photographs(photographs, tmp_path):
    """The method without weights, by its own scale and, where it takes what is enlarged, by any."""
    settings = settings_of("fsrcnn", tmp_path, photographs)
    for number, (arch, keys) in enumerate([({"scale": 2}, {}), ({"scale": 1}, {"scale": 2})]):
        node = {"name": "ppsr.Bicubic", **arch}
        infer = {"output": str(tmp_path / str(number)), **keys}
        changed = {"Arch": node, "Infer": settings.Infer.model_copy(update=infer)}
        enhance_files.run(settings.model_copy(update=changed), components.build(node), "none", "cpu")
        small = np.asarray(Image.open(photographs / "lr" / "cat.png"))
        wanted = np.rint(imresize(small / 255.0, 2).clip(0, 1) * 255)
        written = np.asarray(Image.open(tmp_path / str(number) / "cat.png"))
        assert np.abs(written - wanted).max() <= 1
        assert (written == wanted).mean() > 0.999


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tile", [1, 10, 1000])
def test_tiles_of_the_model_itself(name, tile):
    """And with rows of more than one tile's reach: what each engine makes is in `test_sr_deploy`."""
    arch = NETWORKS[name][0]
    model = randomized(components.build(arch))
    x = np.random.default_rng(0).random((1, model.in_chans, 41, 9), np.float32)
    whole, tiled = (eager(model, config.InferSection(tile=each))(x) for each in (None, tile))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6 * np.abs(whole).max())
