"""SRGAN trained by the tools: from a configuration, killed and resumed bit for bit, evaluated."""

import json

import pytest
from conftest import run_tool
from killing import train_and_kill

from ppcore.io import sha256
from ppcore.weights.files import read

STEPS = 30
PACKAGE = '''
"""Random blots, and the same twice as large."""
import numpy as np
from ppcore.data import Dataset


class Blots(Dataset):
    """Pairs."""

    def __init__(self, *, count: int, seed: int = 0):
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> dict:
        rng = np.random.default_rng((self.seed, index))
        small = rng.random((3, 8, 8), np.float32)
        return {"image": small, "target": np.kron(small, np.ones((1, 2, 2), np.float32)), "path": f"blot {index}"}
'''
CONFIG = """
Global: {{output_dir: {folder}, duration: {{steps: 30}}, eval_every: {{steps: 30}}, save_every: {{steps: 3}},
         log_every: {{steps: 1}}, visualdl: false}}
Arch: {{name: ppsr.SRResNet, scale: 2, width: 4, blocks: 1}}
Task: {{name: ppsr.SRGAN, discriminator: {{name: ppsr.Discriminator, width: 2, size: 16, hidden: 8}}}}
Loss: {{name: ppsr.SquaredError}}
Optimizer:
  generator: {{name: ppcore.optim.Adam, lr: {{name: ppcore.schedules.Constant, base_lr: 2e-3}}}}
  discriminator: {{name: ppsr.ClippedByRate, theta: 1e-3, lr: {{name: ppcore.schedules.Constant, base_lr: 1e-3}}}}
EMA: {{decay: 0.9}}
DataLoader:
  Train: {{dataset: {{name: blots.Blots, count: 40}}, transforms: {{}}, batch_size: 8}}
  Eval:
    dataset: {{name: blots.Blots, count: 6, seed: 1}}
    transforms: {{}}
    batch_size: 3
Metric: {{name: ppcore.metrics.ImageQuality, metrics: [psnr]}}
"""
ALLOW = ("--allow", "ppsr", "--allow", "blots")


@pytest.mark.slow
def test_killed_and_resumed_bit_for_bit(tmp_path):
    (tmp_path / "blots.py").write_text(PACKAGE)
    for name in ("whole", "killed"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(folder=tmp_path / name))
    done = run_tool("train", "-c", tmp_path / "whole.yaml", *ALLOW, path=(tmp_path,))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    records = [line for line in lines if line["kind"] == "train"]
    assert {"content", "adversarial", "real", "made", "lr_generator", "grad_norm_discriminator"} <= set(records[0])
    assert records[-1]["content"] < 0.8 * records[0]["content"]

    arguments = ("-c", tmp_path / "killed.yaml", *ALLOW)
    train_and_kill(tmp_path / "killed", *arguments, at=9, last=STEPS, path=(tmp_path,))
    done = run_tool("train", *arguments, path=(tmp_path,))
    assert done.returncode == 0, done.stderr
    assert "resumed from step_" in done.stderr
    for file in ("weights", "networks", "optimizer"):
        one, other = (
            tmp_path / run / "checkpoints" / f"step_{STEPS}" / f"{file}.safetensors" for run in ("whole", "killed")
        )
        assert sha256(one) == sha256(other), file
    assert {key.split("|")[0] for key in read(one)} == {"generator", "discriminator"}
