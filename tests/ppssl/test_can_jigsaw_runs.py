"""CAN and Jigsaw-ViT trained by the tools: resumed bit for bit, and two processes as one."""

import numpy as np
import pytest
from test_mae_runs import checkpoint, records, tool

CONFIG = """
Global: {{output_dir: {folder}, duration: {{steps: 4}}, save_every: {{steps: 2}}, log_every: {{steps: 1}},
         visualdl: false, device: cpu}}
Arch: {{name: {arch}, img_size: 8, patch_size: 2, embed_dim: 16, depth: 2, num_heads: 2{more}}}
Task: {task}
Loss: {{name: ppcore.losses.CrossEntropy}}
Optimizer:
  name: ppcore.optim.AdamW
  lr: {{name: ppcore.schedules.Constant, base_lr: 1e-3}}
  weight_decay: 0.05
  no_weight_decay: [1d]
DataLoader:
  Train:
    dataset: {{name: ppcore.data.Digits, split: train}}
    transforms: {transforms}
    batch_size: 16
"""
STEPS = """{crop: {name: ppcore.data.RandomCrop, size: 8, padding: 1},
      normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}"""
METHODS = {
    "can": {
        "arch": "ppssl.ContrastiveMaskedAutoencoder",
        "more": ", decoder_embed_dim: 8, decoder_depth: 1, decoder_num_heads: 2, noise_dim: 8",
        "task": "{name: ppssl.CAN}",
        "transforms": f"{{views: {{name: ppcore.data.Views, views: {{view: {{count: 2, transforms: {STEPS}}}}}}}}}",
    },
    "jigsaw": {
        "arch": "ppssl.JigsawVisionTransformer",
        "more": ", num_classes: 10",
        "task": "{name: ppssl.JigsawViT, weight: 0.5}",
        "transforms": STEPS,
    },
}
# Of the pixels' noise each process has its own: a level of next to nothing shows that all else is one.
QUIET = {"can": ("-o", "Task={name: ppssl.CAN, sigma_max: 1e-9}"), "jigsaw": ()}


def write(folder, name: str, method: str):
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(folder=folder / name, **METHODS[method]))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_resumed_bit_for_bit(method, tmp_path):
    tool("train", "-c", write(tmp_path, "whole", method))
    path = write(tmp_path, "resumed", method)
    tool("train", "-c", path, "-o", "Global.duration={steps: 2}")
    assert "resumed from step_2" in tool("train", "-c", path)
    first, second = (checkpoint(tmp_path / name, 4) for name in ("whole", "resumed"))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)
    lines = records(tmp_path / "whole")
    parts = {
        "can": ("contrast", "reconstruction", "noise", "spread"),
        "jigsaw": ("class_loss", "puzzle_loss", "placed"),
    }
    assert set(parts[method]) <= lines[0].keys()
    for number in ("loss", *parts[method]):
        assert [line[number] for line in lines] == [line[number] for line in records(tmp_path / "resumed")]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_are_one(method, tmp_path):
    for name, more in (("one", {}), ("two", {"launch": 2, "log_dir": tmp_path / "log"})):
        tool("train", "-c", write(tmp_path, name, method), *QUIET[method], **more)
    one, two = (checkpoint(tmp_path / name, 4) for name in ("one", "two"))
    for name, array in one.items():
        if "qkv.bias" not in name and "noise_pe_mlp" not in name:  # without gradient, or nearly: Adam steps by rounding
            np.testing.assert_allclose(two[name], array, rtol=0, atol=2e-5 * np.abs(array).max(), err_msg=name)
    losses = [[line["loss"] for line in records(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
