"""Two gloo processes against one."""

import json

import numpy as np
import pytest

from ppcore.weight_files import read


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
