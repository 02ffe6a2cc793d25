"""The way of the authors' weight file, with real files: fine-tuning, evaluation, export, every engine; one number at each stop."""

import importlib.util
import json

import cv2
import lit_reference as reference
import numpy as np
import pytest
from conftest import run_tool

from ppcore import weights
from ppcore.data import Digits, Normalize, Resize, read_image
from ppcore.deploy import Predictor
from pplit import LITv2

TINY = dict(img_size=32, embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 4, 4], alpha=0.9)
CONFIG = """
Global:
  output_dir: {folder}/run
  pretrained: {{path: {start}, source: litv2, new_head: true}}
  duration: {{steps: 60}}
  eval_every: {{steps: 30}}
  save_every: {{steps: 30}}
  visualdl: false
Arch: {{name: pplit.LITv2, num_classes: 10, drop_path_rate: 0.05, {arch}}}
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppcore.schedules.CosineAfterUpdate, base_lr: 6e-3, warmup: {{steps: 5}}}}
  base_lr_factors: {{conv_offset.weight: 0.01}}
  weight_decay: 0.05
  no_weight_decay: [1d]
  clip_norm: 5.0
DataLoader:
  Train:
    dataset: {{name: ppcore.data.ImageFolder, root: {images}/train}}
    transforms: &transforms
      resize: {{name: ppcore.data.Resize, size: [32, 32]}}
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 64
  Eval:
    dataset: {{name: ppcore.data.ImageFolder, root: {images}/val}}
    transforms: *transforms
    batch_size: 100
"""
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not all(map(importlib.util.find_spec, modules)), reason=f"needs {modules}"))
    for name, *modules in (("paddle",), ("onnxruntime", "onnxruntime", "paddle2onnx"), ("openvino", "openvino", "paddle2onnx"))
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The digits as PNG files in class folders."""
    folder = tmp_path_factory.mktemp("images")
    for split, source in (("train", "train"), ("val", "test")):
        data = Digits(split=source)
        for i in range(len(data) if split == "train" else 200):
            sample = data.load(i)
            path = folder / split / f"digit_{sample['label']}" / f"{i:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), sample["image"])
    return folder


def official(folder):
    """Files as the authors' code writes them: their names, in `.pth` (with torch) batches counted and all that a training goes on with."""
    model = reference.stirred(LITv2(**TINY, num_classes=7), seed=3)
    for stage in model.layers[:-1]:
        offset = stage.downsample.dconv.conv_offset
        offset.weight.set_value(offset.weight * 0.2)
    weights.save(model, folder / "start.safetensors", layout="litv2")
    if not importlib.util.find_spec("torch"):
        return [folder / "start.safetensors"]
    import torch

    state = {name: torch.from_numpy(array.copy()) for name, array in weights.export(model, layout="litv2").items()}
    counts = {f"layers.{i}.downsample.norm_layer.num_batches_tracked": torch.tensor(375_300) for i in range(3)}
    trained = {"optimizer": {"state": {}, "param_groups": [{"lr": 1e-5}]}, "lr_scheduler": {"t": 9}, "epoch": 299}
    torch.save({"model": state | counts, **trained, "max_accuracy": 82.0}, folder / "start.pth")
    return [folder / "start.safetensors", folder / "start.pth"]


def test_both_files_say_the_same(tmp_path):
    found = []
    for file in official(tmp_path):
        model = LITv2(**TINY, num_classes=7)
        weights.load(model, file, "litv2")
        found.append({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[-1][name], array, err_msg=name)
    assert np.abs(found[-1]["layers.0.downsample.dconv.conv_offset.weight"]).max() > 0.05


@pytest.fixture(scope="module")
def fine_tuned(images, tmp_path_factory):
    """A run that started from such a file, with another head."""
    folder = tmp_path_factory.mktemp("fine_tuned")
    path = folder / "config.yaml"
    arch = ", ".join(f"{key}: {value}" for key, value in TINY.items())
    path.write_text(CONFIG.format(folder=folder, start=official(folder)[-1], arch=arch, images=images))
    done = run_tool("train", "-c", path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 60, "a file of epoch 299 is a beginning all the same"
    best = records[-1]["best"]
    trainable = [p for p in LITv2(**TINY).parameters() if p.trainable]  # batch norms' statistics are none
    assert records[0]["params"] == sum(p.size for p in trainable) - 990 * (64 + 1)
    assert best["top1"] > 0.3, "barely trained: the test would not tell the weights apart"
    return folder, path, best["top1"]


def test_evaluation_says_what_training_said(fine_tuned, tmp_path, tool):
    folder, path, top1 = fine_tuned
    done = tool("eval", "-c", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["top1"] == top1
    again = tmp_path / "again.safetensors"
    done = tool("export_weights", "-c", path, "--layout", "litv2", "--output", again)
    assert done.returncode == 0, done.stderr
    done = tool("eval", "-c", path, "--weights", again, "--source", "litv2")
    assert json.loads(done.stdout)["top1"] == top1
    done = tool("eval", "-c", path, "-o", f"Global.output_dir={folder / 'none'}")
    assert json.loads(done.stdout)["top1"] < top1, "the beginning alone"


@pytest.fixture(scope="module")
def exported(fine_tuned):
    """The folder of an export."""
    folder, path, _ = fine_tuned
    formats = "[paddle,onnx]" if importlib.util.find_spec("paddle2onnx") else "[paddle]"
    done = run_tool("export_model", "-c", path, "-o", f"Export.output={folder / 'export'}", f"Export.formats={formats}")
    assert done.returncode == 0, done.stderr
    return folder / "export"


def named_rightly(file) -> float:
    records = json.loads(file.read_text())["images"]
    assert len(records) == 200
    return sum(record["topk"][0]["name"] == record["file"].split("/")[-2] for record in records) / len(records)


@pytest.mark.parametrize("engine", ["eager", *ENGINES])
def test_inference_says_so_with_every_engine(fine_tuned, exported, images, engine, tmp_path, tool):
    _, path, top1 = fine_tuned
    where = ("-c", path, "-o", f"Infer.input={images / 'val'}")
    if engine != "eager":
        where = ("--export", exported, images / "val")
    done = tool("infer", *where, "-o", f"Infer.engine={engine}", "-o", f"Infer.output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert named_rightly(tmp_path / "out" / "predictions.json") == pytest.approx(top1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_of_ones_own_says_so(fine_tuned, exported, images, engine):
    predictor, resize, normalize = Predictor(exported, engine), Resize(size=[32, 32]), Normalize([0.5] * 3, [0.5] * 3)
    files = sorted((images / "val").rglob("*.png"))
    batch = np.stack([normalize(resize(read_image(str(file)), None), None) for file in files])
    found = [f"digit_{k}" for k in predictor(batch).argmax(1)]
    assert np.mean([name == file.parent.name for name, file in zip(found, files, strict=True)]) == pytest.approx(
        fine_tuned[2]
    )
