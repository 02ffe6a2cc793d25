"""Killed and restarted, a run ends with the bits of the uninterrupted one."""

import random
import shutil

import pytest
from killing import train_and_kill

from ppcore.io import sha256
from ppcore.weights.checkpoints import Checkpoints

OPTIONS = [
    "-o", "Arch.drop_path_rate=0.2", "-o", "Arch.drop_rate=0.1", "-o", "EMA={decay: 0.9}",
    "-o", "Global.duration={steps: 60}", "-o", "Global.eval_every={steps: 30}",
]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    from conftest import TINY_CONFIG, run_tool

    folder = tmp_path_factory.mktemp("whole")
    path = folder / "tiny.yaml"
    path.write_text(TINY_CONFIG.format(output=folder / "run"))
    done = run_tool("train", "-c", path, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return folder / "run" / "checkpoints" / "step_60"


@pytest.mark.parametrize("workers", [0, 1])
def test_kill_and_resume_is_bit_exact(uninterrupted, tiny_config, tmp_path, tool, workers):
    folder = tmp_path / "run"
    options = [*OPTIONS, "-o", f"DataLoader.Train.num_workers={workers}"]
    stop_at = random.randint(6, 24)
    train_and_kill(folder, "-c", tiny_config, *options, at=stop_at, last=60)
    done = tool("train", "-c", tiny_config, *options)
    assert done.returncode == 0, done.stderr
    assert "resumed from step_" in done.stderr
    for name in ("weights.safetensors", "optimizer.safetensors", "ema.safetensors"):
        ours = folder / "checkpoints" / "step_60" / name
        assert sha256(ours) == sha256(uninterrupted / name), f"{name} differs after a kill at step {stop_at}"


def test_a_finished_run_is_left_alone(uninterrupted, tiny_config, tmp_path, tool):
    shutil.copytree(uninterrupted.parents[1], tmp_path / "run")
    before = sha256(tmp_path / "run" / "checkpoints" / "step_60" / "manifest.json")
    done = tool("train", "-c", tiny_config, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "this run is finished" in done.stderr
    assert sha256(tmp_path / "run" / "checkpoints" / "step_60" / "manifest.json") == before


def test_another_configuration_is_refused(uninterrupted, tiny_config, tmp_path, tool):
    shutil.copytree(uninterrupted.parents[1], tmp_path / "run")
    done = tool("train", "-c", tiny_config, *OPTIONS, "-o", "Optimizer.weight_decay=0.3")
    assert done.returncode == 2
    assert "Optimizer.weight_decay was 0.05 and is now 0.3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_checkpoint_is_passed_over(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted.parent, tmp_path / "checkpoints")
    weights = tmp_path / "checkpoints" / "step_60" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert Checkpoints(tmp_path).newest().name == "step_55"
