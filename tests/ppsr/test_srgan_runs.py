"""SRGAN trained by the tools: killed between two updates and resumed bit for bit, two processes as one, from a trained start."""

import json
import signal

import numpy as np
import pytest
from conftest import run_tool
from sr_reference import random_vgg19

import ppsr
from ppcore.io import sha256
from ppcore.weights.files import read

STEPS = 8
PACKAGE = '''
"""Random blots, and the same twice as large; and a training that may be killed between its two updates."""
import os
import signal
import numpy as np
from ppcore.data import Dataset
from ppsr import SRGAN


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


class Mortal(SRGAN):
    """SRGAN."""

    def losses(self, batch, step):
        turns = super().losses(batch, step)
        yield next(turns)  # when this goes on, the first update is done
        if os.environ.get("KILLED_IN_STEP") == str(step):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from turns
'''
CONFIG = """
Global: {{output_dir: {folder}, duration: {{steps: 8}}, eval_every: {{steps: 8}}, save_every: {{steps: 3}},
         log_every: {{steps: 1}}, visualdl: false, device: cpu}}
Arch: {{name: ppsr.SRResNet, scale: 2, width: 4, blocks: 1}}
Task: {{name: blots.Mortal, discriminator: {{name: ppsr.Discriminator, width: 2, size: 16, hidden: 8}}, weight: 0.1}}
Loss: {loss}
Optimizer:
  generator: {{name: ppcore.optim.Adam, lr: {{name: ppcore.schedules.Constant, base_lr: 2e-3}}}}
  discriminator: {{name: ppcore.optim.Adam, lr: {{name: ppcore.schedules.Constant, base_lr: 1e-3}}}}
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
PIXELS = "{name: ppsr.SquaredError}"


def write(folder, name: str, loss: str = PIXELS):
    """The configuration of a run in folder/name."""
    (folder / "blots.py").write_text(PACKAGE)
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(folder=folder / name, loss=loss))
    return path


def train(path, *options: str, **more):
    """The training's output; asserts that it succeeds."""
    texts = [text for option in options for text in ("-o", option)]
    done = run_tool("train", "-c", path, *texts, *ALLOW, path=(path.parent,), **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def content_loss(folder) -> str:
    """`Loss` with VGG19 of random weights."""
    random_vgg19(folder / "vgg.safetensors")
    return (
        f"{{name: ppsr.ContentLoss, vgg_weights: {folder / 'vgg.safetensors'}, tap: conv2_2, scale: 0.1, pixel: 1.0}}"
    )


def records(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


def checkpoint(folder, step: int = STEPS) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by file and name."""
    files = sorted((folder / "checkpoints" / f"step_{step}").glob("*.safetensors"))
    return {f"{file.stem} {name}": array for file in files for name, array in read(file).items()}


@pytest.mark.slow
def test_killed_between_the_updates_and_resumed_bit_for_bit(tmp_path, monkeypatch):
    """The generator had taken its step and the discriminator had not, two steps after the newest checkpoint."""
    loss = content_loss(tmp_path)
    train(write(tmp_path, "whole", loss))
    lines = records(tmp_path / "whole")
    assert {"content", "adversarial", "real", "made", "lr_generator", "grad_norm_discriminator"} <= set(lines[0])
    assert lines[-1]["content"] < 0.95 * lines[0]["content"]

    path = write(tmp_path, "killed", loss)
    monkeypatch.setenv("KILLED_IN_STEP", "5")
    killed = run_tool("train", "-c", path, *ALLOW, path=(tmp_path,))
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in records(tmp_path / "killed")] == [1, 2, 3, 4, 5]
    assert not (tmp_path / "killed" / "checkpoints" / "step_6").exists()
    monkeypatch.delenv("KILLED_IN_STEP")
    assert "resumed from step_3" in train(path)

    folders = [tmp_path / run / "checkpoints" / f"step_{STEPS}" for run in ("whole", "killed")]
    files = {file.name for file in folders[0].glob("*.safetensors")}
    assert {"weights", "networks", "optimizer", "ema"} <= {name.partition(".")[0] for name in files}
    for name in files:
        assert sha256(folders[0] / name) == sha256(folders[1] / name), name
    for one, other in zip(records(tmp_path / "whole"), records(tmp_path / "killed"), strict=True):
        assert {key: value for key, value in one.items() if "second" not in key and key != "time"} == {
            key: value for key, value in other.items() if "second" not in key and key != "time"
        }

    kept, generator, critic = checkpoint(tmp_path / "killed"), *networks()
    names = {f"{file} {name}" for file in ("weights", "ema") for name in generator.state_dict()}
    names |= {f"networks discriminator.{name}" for name in critic.state_dict()}
    assert {name for name in kept if not name.startswith("optimizer")} == names, "no VGG19 among them"
    for name, array in kept.items():
        if name.endswith("_mean"):
            assert np.abs(array).min() > 0, f"{name} moved"
    trained = {
        f"optimizer {name}|{name}.{key}|{moment}"
        for name, network in (("generator", generator), ("discriminator", critic))
        for key, p in network.named_parameters()
        if not p.stop_gradient
        for moment in ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0")
    }
    assert {name for name in kept if name.startswith("optimizer")} == trained


def networks():
    """Those of `CONFIG`."""
    return ppsr.SRResNet(scale=2, width=4, blocks=1), ppsr.Discriminator(width=2, size=16, hidden=8)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """Half a batch each: losses, norms of gradients, both optimizers' moments, weights, running statistics and the average."""
    path = write(tmp_path, "one", content_loss(tmp_path))
    # With its small epsilon Adam divides gradients by themselves, also those that are rounding, and forgets their scale.
    short = [
        "Global.duration={steps: 3}",
        *(f"Optimizer.{name}.epsilon=0.01" for name in ("generator", "discriminator")),
    ]
    train(path, *short)
    for name, shared in (("two", "true"), ("apart", "false")):
        train(
            path, *short, f"Global.output_dir={tmp_path / name}", f"Global.sync_batch_norm={shared}", launch=2,
            log_dir=tmp_path / "log",
        )  # fmt: skip
    one, two, apart = (checkpoint(tmp_path / name, 3) for name in ("one", "two", "apart"))
    assert one.keys() == two.keys()
    for name, array in one.items():
        # What is left is rounding; gradients are sums of many terms that nearly cancel.
        tolerance = 5e-5 * np.abs(array).max()
        np.testing.assert_allclose(two[name], array, rtol=0, atol=tolerance, err_msg=name)
    numbers = ("loss", "content", "adversarial", "real", "made", "grad_norm_generator", "grad_norm_discriminator")
    for first, second in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        assert [first[number] for number in numbers] == pytest.approx([second[number] for number in numbers], rel=1e-5)
    # Batch norms that see half a batch each train otherwise: what keeps the numbers above together is synchronised.
    weight = "networks discriminator.features.20.weight"
    assert np.abs(apart[weight] - one[weight]).max() > 0.01 * np.abs(one[weight]).max()
