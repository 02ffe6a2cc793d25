"""MAE trained by the tools: resumed bit for bit, two processes as one, and its encoder fine-tuned and probed."""

import json

import numpy as np
import pytest
from conftest import run_tool

import ppssl
from ppcore.errors import ConfigError
from ppcore.weights.files import read
from ppvit import VisionTransformer

CONFIG = """
Global: {{output_dir: {folder}, duration: {{steps: 8}}, save_every: {{steps: 3}}, eval_every: {{steps: 4}}, log_every: {{steps: 1}},
         visualdl: false, device: cpu}}
Arch: {{name: ppssl.MaskedAutoencoder, img_size: 8, patch_size: 2, embed_dim: 16, depth: 2, num_heads: 2,
        decoder_embed_dim: 8, decoder_depth: 1, decoder_num_heads: 2, norm_pix_loss: true}}
Task: {{name: ppssl.MAE, mask_ratio: 0.75}}
Optimizer:
  name: ppcore.optim.AdamW
  beta2: 0.95
  lr: {{name: ppcore.schedules.Constant, base_lr: 2e-3}}
  weight_decay: 0.05
  no_weight_decay: [1d]
DataLoader:
  Train:
    dataset: {{name: ppcore.data.Digits, split: train}}
    transforms:
      crop: {{name: ppcore.data.RandomCrop, size: 8, padding: 1}}
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 16
  Eval:
    dataset: {{name: ppcore.data.Digits, split: test}}
    transforms:
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 100
Metric: {{name: ppssl.ReconstructionError}}
"""
TUNING = """
Global: {{output_dir: {folder}, duration: {{steps: 2}}, eval_every: {{steps: 2}}, visualdl: false, device: cpu,
         pretrained: {{path: {weights}, source: mae, new_head: true}}}}
Arch: {{name: {arch}, img_size: 8, patch_size: 2, embed_dim: 16, depth: 2, num_heads: 2, num_classes: 10}}
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppcore.schedules.ViTSchedule, base_lr: 1e-3, warmup: {{steps: 1}}, cosine_end: 1e-6}}
  layer_decay: 0.65
DataLoader:
  Train: &part
    dataset: {{name: ppcore.data.Digits, split: train}}
    transforms:
      normalize: {{name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
    batch_size: 16
  Eval: *part
"""
ALLOW = ("--allow", "ppssl")


def write(folder, name: str, text: str = CONFIG, **values):
    path = folder / f"{name}.yaml"
    path.write_text(text.format(folder=folder / name, **values))
    return path


def tool(name: str, *arguments, **more) -> str:
    """A tool's output; asserts that it succeeds."""
    done = run_tool(name, *arguments, *ALLOW, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def records(folder, kind: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def checkpoint(folder, step: int = 8) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by file and name."""
    files = sorted((folder / "checkpoints" / f"step_{step}").glob("*.safetensors"))
    return {f"{file.stem} {name}": array for file in files for name, array in read(file).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of eight steps."""
    folder = tmp_path_factory.mktemp("mae")
    tool("train", "-c", write(folder, "whole"))
    return folder / "whole"


def test_resumed_bit_for_bit(whole, tmp_path):
    path = write(tmp_path, "resumed")
    tool("train", "-c", path, "-o", "Global.duration={steps: 5}")
    assert "resumed from step_5" in tool("train", "-c", path)
    first, second = checkpoint(whole), checkpoint(tmp_path / "resumed")
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)
    losses = [[line["loss"] for line in records(folder)] for folder in (whole, tmp_path / "resumed")]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    first, second = (line["reconstruction"] for line in records(whole, "eval"))
    assert 0 < second < first
    assert records(whole, "eval")[0]["n"] == 360


@pytest.mark.slow
def test_two_processes_are_one(whole, tmp_path):
    """Half a batch each, and the masks of its images."""
    tool("train", "-c", write(tmp_path, "two"), launch=2, log_dir=tmp_path / "log")
    one, two = checkpoint(whole), checkpoint(tmp_path / "two")
    for name, array in one.items():
        if "qkv.bias" not in name:  # of which a third has no gradient, and Adam steps by its rounding
            np.testing.assert_allclose(two[name], array, rtol=0, atol=2e-5 * np.abs(array).max(), err_msg=name)
    losses = [[line["loss"] for line in records(folder)] for folder in (whole, tmp_path / "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    errors = [[line["reconstruction"] for line in records(folder, "eval")] for folder in (whole, tmp_path / "two")]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_accumulated_micro_batches_have_masks_of_their_own(whole, tmp_path):
    """The same rows of noise, whether a batch comes whole or in parts."""
    tool("train", "-c", write(tmp_path, "parts"), "-o", "Optimizer.accumulate=2", "-o", "Global.duration={steps: 2}")
    losses = [[line["loss"] for line in records(folder)][:2] for folder in (whole, tmp_path / "parts")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    "arch",
    [
        "ppssl.FineTunedViT",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ppssl.LinearProbeViT", "ppvit.VisionTransformer")),
    ],
)
def test_the_encoder_is_handed_on(whole, tmp_path, arch):
    """Out of the checkpoint or, the same, written in the official layout; read into a classifier, and trained on."""
    tool(
        "export_weights", "-c", whole / "config.yaml", "--weights", whole, "--layout", "mae", "--output",
        tmp_path / "mae.safetensors",
    )  # fmt: skip
    path = write(tmp_path, "tuned", TUNING, weights=tmp_path / "mae.safetensors", arch=arch)
    tool("train", "-c", path)
    before, after = checkpoint(whole), checkpoint(tmp_path / "tuned", 2)
    straight = write(tmp_path, "straight", TUNING, weights=whole / "checkpoints" / "latest", arch=arch)
    tool("train", "-c", straight, "-o", "Global.pretrained.source=pretraining")
    for name, array in checkpoint(tmp_path / "straight", 2).items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)
    shared = [name for name in after if name in before and name.startswith("weights ")]
    assert len(shared) >= 28
    gaps = {name: np.abs(before[name] - after[name]).max() for name in shared}
    if arch == "ppssl.LinearProbeViT":
        assert not any(gaps.values()), "frozen"
    else:
        assert 0 < max(gaps.values()) < 5e-3, "a step from there"
        assert gaps["weights pos_embed"] > 0, "learned now"


class Stand:
    """A run with another network."""

    def __init__(self, model):
        self.model = model


def test_what_does_not_fit_is_named():
    small = dict(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1)
    with pytest.raises(ConfigError, match=r"ppssl\.MAE trains a ppssl\.MaskedAutoencoder, not VisionTransformer"):
        ppssl.MAE(run=Stand(VisionTransformer(**small)))
    model = ppssl.MaskedAutoencoder(**small, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=1)
    for ratio, match in (
        (1.0, r"mask_ratio is 1\.0"),
        (0.9, "some of the 4 patches are kept"),
        (0.0, "and some removed"),
    ):
        with pytest.raises(ConfigError, match=match):
            ppssl.MAE(run=Stand(model), mask_ratio=ratio)
