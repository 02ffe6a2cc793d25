"""Distillation through the engine: a teacher trained first, students with and without its cached logits."""

import json

import numpy as np
import pytest
import yaml
from killing import train_and_kill

from ppcore import config
from ppcore.engine.evaluate import run as evaluate
from ppcore.engine.train import train
from ppcore.errors import PPError
from ppcore.io import sha256
from ppcore.weights.files import read

TEACHER = "{name: ppdeit.RegNet, widths: [8, 16], depths: [1, 1], group_width: 8, stem_width: 8, stem_stride: 1, num_classes: 10}"
STUDENT = "{name: ppdeit.DistilledVisionTransformer, img_size: 8, patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2, num_classes: 10, drop_path_rate: 0.1}"
AUGMENT = "{crop: {name: ppcore.data.RandomCrop, size: 8, padding: 1}, randaugment: {name: ppcore.data.RandAugment, magnitude: 3, fill: [0]}, normalize: {name: ppcore.data.Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}, erase: {name: ppcore.data.RandomErasing}}"
MIXUP = "{mixup: {name: ppcore.data.Mixup}}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    from conftest import TINY_CONFIG

    folder = tmp_path_factory.mktemp("teacher")
    path = folder / "tiny.yaml"
    path.write_text(TINY_CONFIG.format(output=folder / "run"))
    train(config.load(path, [f"Arch={TEACHER}", "Optimizer.no_weight_decay=[1d]"]))
    return folder / "run"


@pytest.fixture
def student(tiny_config, teacher):
    """A configuration file; `write(**changes of the Loss)` rewrites it."""

    def write(**changes):
        tree = yaml.safe_load(tiny_config.read_text().replace("1e-3", "0.001"))
        tree["Arch"] = yaml.safe_load(STUDENT)
        tree["DataLoader"]["Train"]["transforms"] = yaml.safe_load(AUGMENT)
        tree["DataLoader"]["Train"]["batch_transforms"] = yaml.safe_load(MIXUP)
        tree["DataLoader"]["Train"]["repeats"] = 3
        own = {"name": "ppdeit.Teacher", "arch": yaml.safe_load(TEACHER), "weights": str(teacher)}
        tree["Loss"] = {
            "name": "ppdeit.Distillation",
            "base": {"name": "ppcore.losses.CrossEntropy"},
            "teacher": own | changes.pop("teacher", {}),
            **changes,
        }
        tiny_config.write_text(yaml.safe_dump(tree, sort_keys=False))
        return tiny_config

    return write


def final(folder) -> dict:
    return read(folder / "checkpoints" / "step_20" / "weights.safetensors")


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_a_student_trains_and_is_evaluated_by_either_head(student, tmp_path, mode):
    path = student(mode=mode)
    train(config.load(path))
    heads = ("mean", "class", "distillation")
    found = [evaluate(config.load(path, [f"Arch.eval_head={head}"])) for head in heads]
    assert len({result["loss"] for result in found}) == 3
    weights = final(tmp_path / "run")
    assert "dist_token" in weights
    assert not any("teacher" in name for name in weights)


def test_cached_logits_change_no_bit(student, tmp_path):
    cache = {"cache": str(tmp_path / "cache" / "logits.db")}
    runs = {"plain": {}, "fill": cache, "use": cache}
    for workers, (name, own) in enumerate(runs.items()):
        options = [f"Global.output_dir={tmp_path / name}", f"DataLoader.Train.num_workers={workers}"]
        train(config.load(student(teacher=own), options))
    hashes = {sha256(tmp_path / name / "checkpoints" / "step_20" / "weights.safetensors") for name in runs}
    assert len(hashes) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["{level: O1}", "{level: O2}", "{level: O1, dtype: float16}"])
def test_under_amp_a_student_trains_near_float32(student, tmp_path, amp):
    """The teacher runs under the run's autocast, too."""
    path = student()
    train(config.load(path))
    train(config.load(path, [f"AMP={amp}", f"Global.output_dir={tmp_path / 'amp'}"]))
    plain, mixed = (
        [r["loss"] for r in map(json.loads, (tmp_path / run / "metrics.jsonl").open()) if r["kind"] == "train"]
        for run in ("run", "amp")
    )
    np.testing.assert_allclose(plain, mixed, rtol=0.02)


def test_killed_and_restarted(student, tmp_path, tool):
    path = student()
    longer = ["-o", "Global.duration={steps: 60}", "-o", "Global.eval_every={steps: 60}"]
    # In a process of its own, too: what a long test process has allocated moves arrays, and with them sums.
    whole = tool("train", "-c", path, *longer, "-o", f"Global.output_dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    train_and_kill(tmp_path / "run", "-c", path, *longer, at=12, last=60)
    done = tool("train", "-c", path, *longer)
    assert "resumed from step_" in done.stderr, done.stderr
    for name in ("weights.safetensors", "optimizer.safetensors"):
        one, other = (tmp_path / run / "checkpoints" / "step_60" / name for run in ("whole", "run"))
        assert sha256(one) == sha256(other), name


def test_two_processes_match_one(student, tmp_path, tool):
    """Without what every process draws for itself: mixing and stochastic depth."""
    path = student()
    plain = ["DataLoader.Train.batch_transforms={}", "Arch.drop_path_rate=0.0"]
    train(config.load(path, plain))
    words = [
        word
        for option in [*plain, f"Global.output_dir={tmp_path / 'two'}", "Global.device=cpu"]
        for word in ("-o", option)
    ]
    two = tool("train", "-c", path, *words, launch=2, log_dir=tmp_path / "log")
    assert two.returncode == 0, two.stdout + two.stderr
    weights, others = final(tmp_path / "run"), final(tmp_path / "two")
    assert max(float(np.abs(weights[name] - others[name]).max()) for name in weights) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["Loss.teacher.weights=nowhere/teacher.pdparams"], "nowhere/teacher.pdparams"),
        (["Loss.teacher.arch.num_classes=7"], "misshapen"),
        (["Global.eval_mode_training=true"], "leave Global.eval_mode_training false"),
        (["Loss.through=class"], "set through: token"),
        (["Loss.teacher.mean=[0.5, 0.5, 0.5]"], "both mean and std"),
        (["Loss.teacher.weights={path: x, sourc: timm}"], "weights.sourc: unknown key (did you mean 'source'?)"),
        (["Loss.mode=medium"], "Loss.mode"),
        (["Loss.alpha=2.0"], "alpha 2.0 must be in"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_bad_input_is_one_line(student, options, message):
    with pytest.raises(PPError) as found:
        train(config.load(student(), options))
    assert message in str(found.value)
    assert "\n" not in str(found.value)
