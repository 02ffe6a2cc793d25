"""The third group of LITv2's recipe: the weights that make offsets learn at a hundredth of the base rate, in a real training."""

import json

import numpy as np
import paddle
import pytest
import yaml
from killing import train_and_kill

import ppcore.weights
import pplit
from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppcore.schedules import CosineAfterUpdate

# The authors' three rates for a batch of 512, and what they multiply the base of the offsets' weights by.
RATES = dict(base_lr=5e-4, warmup_lr=5e-7, min_lr=5e-6, reference_batch=512)
FACTOR = 0.01
# Of the offsets' weights at batch 1024, 300 epochs of 10 updates, warm-up 20 epochs: update -> rate, by the authors' scheduler.
PUBLISHED = {0: 1e-6, 1: 1e-6, 2: 1.045e-6, 101: 5.5e-6, 200: 9.955e-6, 201: 1e-5, 1000: 1e-5, 2999: 1e-5}
TINY = dict(img_size=32, embed_dim=4, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 4], num_classes=10)
NORMALIZE = {"name": "ppcore.data.Normalize", "mean": [0.5] * 3, "std": [0.5] * 3}
RESIZED = {"resize": {"name": "ppcore.data.Resize", "size": [32, 32]}, "normalize": NORMALIZE}


def test_the_rates_are_the_authors_scheduler():
    """Their base is the lowest rate of all, so that after the warm-up nothing changes any more."""
    own = CosineAfterUpdate(**RATES | {"base_lr": RATES["base_lr"] * FACTOR}, warmup=Duration(epochs=20.0))
    rates = own.bind(Plan(10, 1024, 3000))
    assert {step: rates(step) for step in PUBLISHED} == pytest.approx(PUBLISHED, rel=1e-12)


def test_the_whole_curve(golden):
    if not (golden / "swin_schedules.npz").is_file():
        pytest.skip(f"no swin_schedules.npz in {golden}")
    want = np.load(golden / "swin_schedules.npz")["litv2_offset_300/no_prefix"]
    own = CosineAfterUpdate(**RATES | {"base_lr": RATES["base_lr"] * FACTOR}, warmup=Duration(epochs=20.0))
    rates = own.bind(Plan(10, 1024, 3000))
    np.testing.assert_allclose([rates(step) for step in range(len(want))], want, rtol=1e-12, atol=0)


def test_it_is_three_tensors_of_the_published_number_of_values_and_they_decay():
    with paddle.LazyGuard():
        model = pplit.litv2_small()
    [group] = optim.named_parameters(model, ["conv_offset.weight"]).values()
    assert len(group) == 3
    assert sum(p.size for p in group) == 21_504
    decayed = optim.decayed_names(model, ["1d"])
    assert {f"layers.{i}.downsample.dconv.conv_offset.weight" for i in range(3)} <= decayed
    assert not {name for name in decayed if name.endswith("bias")}


def configuration(folder, steps: int, **optimizer) -> dict:
    every = {"steps": steps}
    data = {"name": "ppcore.data.Digits", "split": "train"}
    return {
        "Global": {
            "output_dir": str(folder),
            "duration": {"steps": steps},
            "save_every": {"steps": 1},
            "eval_every": every,
            "log_every": {"steps": 1},
            "keep_checkpoints": 20,
            "visualdl": False,
        },
        "Arch": {"name": "pplit.LITv2", **TINY},
        "Loss": {"name": "ppcore.losses.CrossEntropy"},
        "Optimizer": {
            "name": "ppcore.optim.AdamW",
            "lr": {"name": "ppcore.schedules.CosineAfterUpdate", **RATES, "warmup": {"steps": 4}},
            "base_lr_factors": {"conv_offset.weight": FACTOR},
            "weight_decay": 0.05,
            "no_weight_decay": ["1d"],
            "clip_norm": 5.0,
            **optimizer,
        },
        "DataLoader": {
            "Train": {"dataset": data, "transforms": RESIZED, "batch_size": 512},
            "Eval": {"dataset": data | {"split": "test"}, "transforms": RESIZED, "batch_size": 360},
        },
    }


def written(path, *args, **kwargs):
    path.write_text(yaml.safe_dump(configuration(*args, **kwargs), sort_keys=False))
    return path


def offsets(folder, step: int) -> dict[str, np.ndarray]:
    """The offsets' tensors of a checkpoint."""
    model = pplit.LITv2(**TINY)
    ppcore.weights.load(model, folder / "checkpoints" / f"step_{step}" / "weights.safetensors")
    return {name: p.numpy() for name, p in model.named_parameters() if "conv_offset" in name}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Ten updates, four of them warm-up."""
    from conftest import run_tool

    folder = tmp_path_factory.mktemp("offsets")
    done = run_tool("train", "-c", written(folder / "c.yaml", folder / "run", 10))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_first_step_of_adam_is_as_long_as_the_rate(trained):
    """Offsets start at zero: what they are after a step of AdamW is the rate, whatever the gradient, and decay takes nothing."""
    after = offsets(trained / "run", 1)
    rate = json.loads((trained / "run" / "metrics.jsonl").read_text().splitlines()[1])["lr"]
    assert rate == pytest.approx(5e-7, rel=1e-6)
    for name, value in after.items():
        assert np.median(np.abs(value)) == pytest.approx(5e-7, rel=1e-3), name  # both warm-ups begin at one rate


def test_then_the_weights_stay_at_their_rate_and_the_biases_rise_with_all_others(trained):
    longest = {"weight": 0.0, "bias": 0.0}
    for step in range(5, 10):
        before, after = offsets(trained / "run", step), offsets(trained / "run", step + 1)
        for name, value in after.items():
            kind = name.rpartition(".")[2]
            longest[kind] = max(longest[kind], np.abs(value - before[name]).max())
    # A step of AdamW is at most about the rate long while gradients keep their size: 5e-6 against 4.6e-4.
    assert 2e-6 < longest["weight"] < 1e-5
    assert 1e-4 < longest["bias"] < 1e-3


@pytest.mark.slow
def test_a_killed_training_goes_on_at_those_rates(trained, tool, tmp_path):
    path = written(tmp_path / "c.yaml", tmp_path / "run", 10)
    train_and_kill(tmp_path / "run", "-c", path, at=6, last=10)
    done = tool("train", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "resumed from step_" in done.stderr
    want, got = offsets(trained / "run", 10), offsets(tmp_path / "run", 10)
    for name, value in got.items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_a_training_with_other_rates_is_not_gone_on_with(trained, tool):
    path = written(trained / "other.yaml", trained / "run", 10, base_lr_factors={"conv_offset.weight": 0.1})
    done = tool("train", "-c", path)
    assert done.returncode == 2
    assert "base_lr_factors" in done.stderr
