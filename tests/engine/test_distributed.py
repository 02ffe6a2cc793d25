"""Two gloo processes against one."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from ppcore.engine.distributed import World
from ppcore.errors import ConfigError
from ppcore.weights.files import read


def evaluations(folder) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "eval"]


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_processes_match_one(tiny_config, tmp_path, tool, accumulate):
    one = tool("train", "-c", tiny_config)
    assert one.returncode == 0, one.stderr
    two = tool(
        "train", "-c", tiny_config, "-o", f"Global.output_dir={tmp_path / 'two'}", "-o", "Global.device=cpu",
        "-o", f"Optimizer.accumulate={accumulate}", launch=2, log_dir=tmp_path / "log",
    )  # fmt: skip
    assert two.returncode == 0, two.stdout + two.stderr
    weights, others = (
        read(tmp_path / run / "checkpoints" / "step_20" / "weights.safetensors") for run in ("run", "two")
    )
    gap = max(float(np.abs(weights[name] - others[name]).max()) for name in weights)
    assert gap < 1e-5
    # 360 test images over two processes: each counted once.
    for first, second in zip(evaluations(tmp_path / "run"), evaluations(tmp_path / "two"), strict=True):
        assert first["n"] == second["n"] == 360
        assert first["top1"] == pytest.approx(second["top1"], abs=1.5 / 360)
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-4)


@pytest.mark.slow
def test_recomputed_blocks_in_two_processes(tiny_config, tmp_path, tool):
    """The same bits as without, in two processes: dropout, accumulation and clipping included; and about one process's numbers."""
    random = ["Arch.drop_rate=0.1", "Arch.drop_path_rate=0.2", "Optimizer.accumulate=2"]

    def run(name, *options, launch):
        texts = [text for option in (*options, f"Global.output_dir={tmp_path / name}") for text in ("-o", option)]
        more = {"launch": launch, "log_dir": tmp_path / f"log_{name}"} if launch else {}
        done = tool("train", "-c", tiny_config, "-o", "Global.device=cpu", *texts, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return read(tmp_path / name / "checkpoints" / "step_20" / "weights.safetensors"), done.stdout + done.stderr

    plain, _ = run("plain", *random, launch=2)
    ours, said = run("ours", *random, "Global.recompute=true", launch=2)
    assert "2 blocks are computed again" in said
    assert all(np.array_equal(plain[name], ours[name]) for name in plain)
    one, _ = run("one", "Global.recompute=true", launch=0)
    two, _ = run("two", "Global.recompute=true", launch=2)
    assert max(float(np.abs(one[name] - two[name]).max()) for name in one) < 1e-5


def test_running_statistics_are_the_saved_ones_on_every_process(tiny_config, tmp_path, tool):
    """What two processes measure during training is what one process measures of the checkpoint."""
    network = "{name: ppdeit.RegNet, widths: [8], depths: [1], group_width: 4, stem_width: 4, num_classes: 10}"
    options = [f"Arch={network}", "EMA={decay: 0.5}", "Optimizer.no_weight_decay=[1d]", "Optimizer.lr.base_lr=0.05"]
    options = [text for option in options for text in ("-o", option)]
    done = tool(
        "train", "-c", tiny_config, *options, "-o", "Global.duration={steps: 6}", "-o", "Global.device=cpu",
        launch=2, log_dir=tmp_path / "log",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for during in evaluations(tmp_path / "run"):
        name = {"model": "weights", "ema": "ema"}[during["weights"]]
        file = tmp_path / "run" / "checkpoints" / "step_6" / f"{name}.safetensors"
        alone = tool("eval", "-c", tiny_config, *options, "--weights", file, "--json", tmp_path / "eval.json")
        assert alone.returncode == 0, alone.stderr
        assert during["loss"] == pytest.approx(json.loads((tmp_path / "eval.json").read_text())["loss"], rel=1e-5)


@pytest.mark.slow
def test_two_machines_match_one_process(tiny_config, tmp_path, tool, root):
    """Two launchers that meet at an address, as on two machines, with one process each."""
    one = tool("train", "-c", tiny_config)
    assert one.returncode == 0, one.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    launchers = []
    for rank in range(2):
        command = [
            sys.executable, "-m", "paddle.distributed.launch", "--nnodes", "2", "--master", address, "--rank", str(rank),
            "--nproc_per_node", "1", "--log_dir", str(tmp_path / f"log{rank}"), str(root / "tools" / "train.py"),
            "-c", str(tiny_config), "-o", f"Global.output_dir={tmp_path / 'two'}", "-o", "Global.device=cpu",
        ]  # fmt: skip
        launchers.append(subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}))
    try:
        assert [launcher.wait(timeout=120) for launcher in launchers] == [0, 0]
    finally:
        for launcher in launchers:
            launcher.kill()
    assert json.loads((tmp_path / "two" / "env.json").read_text())["world_size"] == 2
    weights, others = (
        read(tmp_path / run / "checkpoints" / "step_20" / "weights.safetensors") for run in ("run", "two")
    )
    assert max(float(np.abs(weights[name] - others[name]).max()) for name in weights) < 1e-5
    for first, second in zip(evaluations(tmp_path / "run"), evaluations(tmp_path / "two"), strict=True):
        assert first["n"] == second["n"] == 360
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-4)


def test_processes_that_would_start_from_different_steps_say_so(monkeypatch):
    """A machine that does not see the run's folder would begin anew, and the others wait for it for ever."""
    world = World(0, 2, "cpu")
    monkeypatch.setattr(World, "gather", lambda self, value: [value, 0])
    world.check_alike(0, "the step")
    with pytest.raises(ConfigError, match="the step differs between the processes: 40, 0"):
        world.check_alike(40, "the step")
