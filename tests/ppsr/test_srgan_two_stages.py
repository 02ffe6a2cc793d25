"""SRGAN from a trained SRResNet: one number from the training's evaluation to the export's images; and the quick configuration."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from skimage import data

import ppsr
from ppcore import config
from ppcore.config import components
from ppcore.deploy import Predictor
from ppcore.engine import evaluate, export_run
from ppcore.engine.train import train
from ppcore.weights.files import read

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
QUICK = ROOT / "configs" / "quick" / "srgan_photographs.yaml"
RATE = {"name": "ppcore.schedules.Constant", "base_lr": 2e-3}
ADAM = {"name": "ppcore.optim.Adam", "lr": RATE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two photographs, and `start`: a SRResNet trained on them."""
    folder = tmp_path_factory.mktemp("srgan")
    for name, pixels in (("cat", data.chelsea()[100:172, 120:200]), ("cup", data.coffee()[150:222, 250:330])):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    train(settings(folder, "start", steps=30, Optimizer=ADAM))
    return folder


def settings(folder: Path, name: str, *, steps: int, **sections) -> config.Config:
    """A run in folder/name."""
    images = {"scale": 2, "input": "lr_rgb", "protocol": "rgb_u8"}
    images["source"] = {"name": "ppsr.ImagesOf", "root": str(folder), "folder": "."}
    tree = {
        "Global": {
            "output_dir": str(folder / name), "device": "cpu", "duration": {"steps": steps}, "visualdl": False,
            "eval_every": {"steps": steps}, "save_every": {"steps": steps},
        },
        "Arch": {"name": "ppsr.SRResNet", "scale": 2, "width": 4, "blocks": 1},
        "Loss": {"name": "ppsr.SquaredError"},
        "DataLoader": {
            "Train": {"dataset": {"name": "ppsr.SubImages", "size": 8, "stride": 8, **images}, "batch_size": 8},
            "Eval": {"dataset": {"name": "ppsr.DegradedImages", **images}, "batch_size": 1},
        },
        "Metric": {"name": "ppsr.LumaQuality", "protocol": "rgb_u8"},
        "Export": {"formats": ["paddle"], "output": str(folder / f"{name}_export")},
        **sections,
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    start = [] if name == "start" else [f"Global.pretrained={folder / 'start'}"]
    return config.load(path, start)


def adversarial(folder: Path, name: str, headline: str) -> config.Config:
    """SRGAN from `start`."""
    discriminator = {"name": "ppsr.Discriminator", "width": 2, "size": 16, "hidden": 4}
    task = {"name": "ppsr.SRGAN", "discriminator": discriminator, "weight": 0.01}
    return settings(
        folder, name, steps=6, Task=task, Optimizer={"generator": ADAM, "discriminator": ADAM},
        EMA={"decay": 0.9, "headline": headline},
    )  # fmt: skip


def evaluated(folder: Path) -> dict[str, float]:
    """PSNR-Y of the last evaluation, by whose weights."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["weights"]: line["psnr_y"] for line in lines if line["kind"] == "eval"}


@pytest.mark.parametrize("headline", ["model", "ema"])
def test_one_number_at_every_stop(folder, headline):
    """The start, SRGAN's training, its evaluation, its export: the generator, and the weights that `EMA.headline` says."""
    [start] = evaluated(folder / "start").values()
    assert evaluate.run(settings(folder, "start", steps=30, Optimizer=ADAM))["psnr_y"] == pytest.approx(start, abs=1e-9)
    run = adversarial(folder, headline, headline)
    train(run)
    numbers = evaluated(folder / headline)
    assert abs(numbers["model"] - numbers["ema"]) > 1e-3, "they can be told apart"
    assert min(numbers.values()) > start - 3, "it began with the start: from random weights it would be at 10 dB"
    assert evaluate.run(run)["psnr_y"] == pytest.approx(numbers[headline], abs=1e-9)

    export_run.run(run)
    metric = components.build(run.Metric)
    predictor = Predictor(folder / f"{headline}_export", "paddle", quiet=True)
    images = components.build(run.DataLoader.Eval.dataset)
    for index in range(len(images)):
        sample = images.load(index)
        batch = {key: np.asarray(sample[key])[None] for key in ("target", "scale", "protocol")}
        metric.update(paddle.to_tensor(predictor(sample["image"][None])), batch | {"path": [sample["path"]]})
    assert metric.compute()["psnr_y"] == pytest.approx(numbers[headline], abs=1e-3)


def test_it_begins_with_the_start_and_no_other_network_has_its_weights(folder):
    start = read(folder / "start" / "checkpoints" / "step_30" / "weights.safetensors")
    run = settings(folder, "still", steps=1, Task={"name": "ppsr.SRGAN", "discriminator": {
        "name": "ppsr.Discriminator", "width": 2, "size": 16, "hidden": 4}},
        Optimizer={name: {**ADAM, "lr": {**RATE, "base_lr": 1e-12}} for name in ("generator", "discriminator")},
    )  # fmt: skip
    train(run)
    after = read(folder / "still" / "checkpoints" / "step_1" / "weights.safetensors")
    assert start.keys() == after.keys()
    for name, array in start.items():
        if not name.endswith(("_mean", "_variance")):  # they move at any rate
            np.testing.assert_allclose(after[name], array, rtol=0, atol=1e-9, err_msg=name)


def test_the_quick_configuration_fits_together():
    """Generator, crops and discriminator are of one size; without VGG19's weights, and with SRResNet's run as its start."""
    run = config.load(QUICK)
    assert run.Loss["name"] == "ppsr.SquaredError"
    assert run.Global.pretrained.path == "output/srresnet_photographs"
    model, critic = components.build(run.Arch), components.build(run.Task["discriminator"])
    size = run.DataLoader.Train.transforms["patch"]["size"]
    assert critic.img_size == (size * model.scale,) * 2
    assert critic(model(paddle.zeros([2, 3, size, size]))).shape == [2, 1]
    assert set(run.optimizers()) == {"generator", "discriminator"}
    assert isinstance(model, ppsr.SRResNet)
