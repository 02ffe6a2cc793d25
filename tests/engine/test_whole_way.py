"""The way a user goes, with real files: the same number at every stop."""

import json

import cv2
import numpy as np
import pytest

import ppvit
from ppcore import weights
from ppcore.data import Digits, Normalize, Resize, read_image
from ppcore.errors import CheckpointError

CONFIG = """
Global:
  output_dir: {output}
  pretrained: {{path: {start}, source: timm, new_head: true}}
  duration: {{steps: 160}}
  eval_every: {{steps: 80}}
  save_every: {{steps: 80}}
  visualdl: false
Arch: {{name: ppvit.VisionTransformer, img_size: 16, patch_size: 4, embed_dim: 32, depth: 2, num_heads: 2, num_classes: 10, init: jax}}
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppcore.schedules.ViTSchedule, base_lr: 3e-3, warmup: {{steps: 5}}}}
DataLoader:
  Train:
    dataset: {{name: ppcore.data.ImageFolder, root: {images}/train}}
    transforms: &transforms
      resize: {{name: ppcore.data.Resize, size: [16, 16]}}
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 64
  Eval:
    dataset: {{name: ppcore.data.ImageFolder, root: {images}/val}}
    transforms: *transforms
    batch_size: 100
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The digits as PNG files in class folders with names out of order."""
    folder = tmp_path_factory.mktemp("images")
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for split, source in (("train", "train"), ("val", "test")):
        data = Digits(split=source)
        for i in range(len(data)):
            sample = data.load(i)
            path = folder / split / names[sample["label"]] / f"{i:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), sample["image"])
    return folder


@pytest.fixture(scope="module")
def fine_tuned(images, tmp_path_factory):
    """A run that started from a timm file of another image size and another head."""
    from conftest import run_tool

    folder = tmp_path_factory.mktemp("fine_tuned")
    model = ppvit.VisionTransformer(
        img_size=8, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=7, init="jax"
    )
    weights.save(model, folder / "start.safetensors", layout="timm")
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(output=folder / "run", start=folder / "start.safetensors", images=images))
    done = run_tool("train", "-c", path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    best = records[-1]["best"]
    assert best["top1"] > 0.5, "barely trained: the test would not tell the weights apart"
    return folder, path, best


def evaluated(tool, *arguments) -> dict:
    done = tool("eval", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_accuracy_of_training_is_that_of_every_stop(fine_tuned, images, tool, tmp_path):
    _, path, best = fine_tuned
    result = evaluated(tool, "-c", path)
    assert result["top1"] == best["top1"]
    assert "the run's best" in result["weights_from"]

    done = tool("infer", "-c", path, "-o", f"Infer.input={images}/val", "-o", f"Infer.output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    right = sum(record["topk"][0]["name"] == record["file"].split("/")[-2] for record in records)
    assert right / len(records) == pytest.approx(best["top1"])

    exported = tmp_path / "again.safetensors"
    done = tool("export_weights", "-c", path, "--layout", "timm", "--output", exported)
    assert done.returncode == 0, done.stderr
    assert evaluated(tool, "-c", path, "--weights", exported, "--source", "timm")["top1"] == best["top1"]


def test_the_exported_model_has_that_accuracy_too(fine_tuned, images, tool, tmp_path):
    pytest.importorskip("onnxruntime")
    from ppcore.deploy import Predictor

    _, path, best = fine_tuned
    done = tool("export_model", "-c", path, "-o", f"Export.output={tmp_path / 'export'}", "-o", "Export.formats=[onnx]")
    assert done.returncode == 0, done.stderr
    predictor = Predictor(str(tmp_path / "export"), engine="onnxruntime")
    resize, normalise = Resize(size=[16, 16]), Normalize(mean=[0.5] * 3, std=[0.5] * 3)
    names = sorted(folder.name for folder in (images / "val").iterdir())
    right = total = 0
    for label, name in enumerate(names):
        files = sorted((images / "val" / name).glob("*.png"))
        batch = np.stack([normalise(resize(read_image(str(file)), None), None) for file in files])
        right += int((predictor(batch).argmax(axis=1) == label).sum())
        total += len(files)
    assert right / total == pytest.approx(best["top1"])


def test_the_report_shows_it_too(fine_tuned, tool, tmp_path):
    folder, _, best = fine_tuned
    done = tool("compare", folder / "run", "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    [run] = json.loads((tmp_path / "report" / "report.json").read_text())["runs"]
    assert run["best_step"] == best["step"]
    assert run["best"]["top1"] == pytest.approx(100 * best["top1"])


def test_a_run_folder_means_its_best(fine_tuned, tool):
    folder, path, best = fine_tuned
    assert evaluated(tool, "-c", path, "--weights", folder / "run")["top1"] == best["top1"]


def test_before_training_the_start_is_used_and_said_so(fine_tuned, tool, tmp_path):
    _, path, best = fine_tuned
    result = evaluated(tool, "-c", path, "-o", f"Global.output_dir={tmp_path / 'none'}")
    assert result["top1"] < best["top1"]
    assert "Global.pretrained" in result["weights_from"]


@pytest.mark.parametrize("missing", ["eight", "zero"])
def test_a_class_without_images_does_not_shift_the_others(fine_tuned, images, tool, tmp_path, missing):
    _, path, _ = fine_tuned
    (tmp_path / "val").mkdir()
    for folder in (images / "val").iterdir():
        if folder.name != missing:
            (tmp_path / "val" / folder.name).symlink_to(folder)
    done = tool("eval", "-c", path, "-o", f"DataLoader.Eval.dataset.root={tmp_path / 'val'}")
    assert done.returncode == 0, done.stderr
    assert f"no images of 1 of the 10 training classes: {missing}" in done.stderr
    assert json.loads(done.stdout)["top1"] > 0.5


def test_classes_training_did_not_have_are_named(fine_tuned, images, tool, tmp_path):
    _, path, _ = fine_tuned
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ten").symlink_to(images / "val" / "one")
    (tmp_path / "val" / "two").symlink_to(images / "val" / "two")
    done = tool("eval", "-c", path, "-o", f"DataLoader.Eval.dataset.root={tmp_path / 'val'}")
    assert done.returncode == 2
    assert "its classes ten are not among the 10 classes of training" in done.stderr


def test_a_root_one_folder_too_high_is_seen(fine_tuned, images, tool, tmp_path):
    _, path, _ = fine_tuned
    done = tool(
        "train",
        "-c",
        path,
        "-o",
        f"Global.output_dir={tmp_path / 'run'}",
        "-o",
        f"DataLoader.Train.dataset.root={images}",
    )
    assert done.returncode == 2
    assert "look like splits of a data set, not classes" in done.stderr


class TestHeadline:
    """`best` says which weights it was, and these are used; a slow average is far behind them here."""

    OPTIONS = ("Global.pretrained=null", "EMA.decay=0.9999")

    @pytest.mark.parametrize("headline", ["auto", "model", "ema"])
    def test_what_best_records_is_evaluated(self, fine_tuned, tool, tmp_path, headline):
        _, path, _ = fine_tuned
        more = [*self.OPTIONS, f"EMA.headline={headline}", f"Global.output_dir={tmp_path / 'run'}"]
        more = [word for option in more for word in ("-o", option)]
        assert tool("train", "-c", path, *more).returncode == 0
        best = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["best"]
        assert best["weights"] == ("ema" if headline == "ema" else "model")
        result = evaluated(tool, "-c", path, *more)
        assert result["top1"] == best["top1"]
        assert result["weights"].endswith("ema.safetensors" if headline == "ema" else "weights.safetensors")
        assert (best["top1"] > 0.5) == (headline != "ema")


def test_damaged_weights_are_refused(fine_tuned, tool, tmp_path):
    import shutil

    from ppcore.weights.checkpoints import find_weights

    folder, _, _ = fine_tuned
    shutil.copytree(folder / "run", tmp_path / "run")
    found = find_weights(tmp_path / "run").path
    found.write_bytes(found.read_bytes()[:-1] + b"\x01\x02")
    with pytest.raises(CheckpointError, match="damaged"):
        find_weights(tmp_path / "run")
