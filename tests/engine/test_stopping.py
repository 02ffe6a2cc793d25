"""Signals: a training that is asked to end saves what it has and says how to go on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ppcore.weights.checkpoints import Checkpoints


def start(root, config, *options):
    command = [sys.executable, str(root / "tools" / "train.py"), "-c", str(config)]
    for option in options:
        command += ["-o", option]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(path, text, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"'{text}' did not come: {process.communicate()[1]}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_saves_and_says_how_to_go_on(tiny_config, tmp_path, root, number, status, workers):
    process = start(
        root, tiny_config, "Global.duration={steps: 100000}", "Global.save_every={steps: 100000}",
        "Global.eval_every={steps: 100000}", f"DataLoader.Train.num_workers={workers}",
    )  # fmt: skip
    wait_for(tmp_path / "run" / "metrics.jsonl", '"train"', process)
    os.killpg(process.pid, number)  # as a terminal or a scheduler does: the workers hear it, too
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert "which is saved; go on with: python tools/train.py -c" in last
    saved = Checkpoints(tmp_path / "run").newest()
    assert f"stopped at step {saved.name.removeprefix('step_')} of" in last


def test_during_an_evaluation(tiny_config, tmp_path, root):
    """The checkpoint is saved before; the evaluation is left and comes again."""
    options = ("Global.duration={steps: 20}", "Global.eval_every={steps: 10}", "DataLoader.Eval.batch_size=1")
    wide = ("Arch.embed_dim=256", "Arch.depth=8")
    process = start(root, tiny_config, *options, *wide)
    wait_for(tmp_path / "run" / "checkpoints" / "latest", "step_10", process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "stopped while step 10 was evaluated, which is saved" in errors
    again = start(root, tiny_config, *options, *wide)
    errors = again.communicate(timeout=120)[1]
    assert again.returncode == 0, errors
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert metrics.count('"kind": "eval", "step": 10') == 1
    assert metrics.count('"kind": "eval", "step": 20') == 1


@pytest.mark.parametrize("after", [0.1, 0.3, 0.6, 1.0, 1.5])
def test_while_starting(tiny_config, root, after):
    process = start(root, tiny_config, "Global.duration={steps: 1000000}")
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert "Traceback" not in errors, errors
    assert process.returncode in (130, -signal.SIGINT)


def test_processes_stop_at_the_same_step(tiny_config, tmp_path, root):
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "log")]
    options = [
        "-o",
        "Global.device=cpu",
        "-o",
        "Global.duration={steps: 1000000}",
        "-o",
        "Global.save_every={steps: 1000000}",
    ]
    command = [sys.executable, *launcher, str(root / "tools" / "train.py"), "-c", str(tiny_config), *options]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(tmp_path / "run" / "metrics.jsonl", '"train"', process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=90)
    said = [(tmp_path / "log" / f"workerlog.{rank}").read_text().splitlines()[-1] for rank in range(2)]
    assert said[0] == said[1]
    assert "which is saved; go on with the same launcher and" in said[0]
    assert Checkpoints(tmp_path / "run").newest() is not None
