"""The loop itself: what it writes, accumulation, divergence, precision."""

import json

import numpy as np
import paddle
import pytest

from ppcore import config
from ppcore.engine.records import rewind
from ppcore.engine.train import Diverged, train
from ppcore.engine.update import step_seed
from ppcore.errors import ConfigError
from ppcore.weights.files import read


def records(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def test_a_run_leaves_its_folder(tiny_config, tmp_path):
    result = train(config.load(tiny_config, ["EMA={decay: 0.9}", "Global.visualdl=true"]))
    folder = tmp_path / "run"
    assert result.folder == folder
    assert result.step == 20
    assert (folder / "config.yaml").is_file()
    assert config.load(folder / "config.yaml").Global.output_dir == str(folder)
    environment = json.loads((folder / "env.json").read_text())
    assert environment["paddle"] == paddle.__version__
    kinds = {p.name.split(".")[0] for p in (folder / "vdl").iterdir()}
    # VisualDL cannot read Paddle 3's programs; there the log says so.
    on_paddle2 = paddle.__version__.startswith("2.")
    assert kinds == ({"vdlrecords", "vdlgraph"} if on_paddle2 else {"vdlrecords"})
    assert on_paddle2 or "VisualDL graph not written" in (folder / "log.txt").read_text()
    steps = [r["step"] for r in records(folder, "train")]
    assert steps == list(range(1, 21))
    assert all(np.isfinite(r["loss"]) and r["images_per_second"] > 0 for r in records(folder, "train"))
    assert {(r["step"], r["weights"]) for r in records(folder, "eval")} == {
        (10, "model"), (10, "ema"), (20, "model"), (20, "ema"),
    }  # fmt: skip
    assert {"latest", "best", "step_15", "step_20"} <= {p.name for p in (folder / "checkpoints").iterdir()}
    assert records(folder, "end")[0]["best"]["top1"] == max(r["top1"] for r in records(folder, "eval"))


def test_a_resumed_run_takes_back_what_it_will_record_again(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    before = [
        {"kind": "start", "step": 0},
        {"kind": "train", "step": 1},
        {"kind": "train", "step": 2},
        {"kind": "eval", "step": 2},
        {"kind": "train", "step": 3},
    ]
    for evaluated, left in ((True, 4), (False, 3)):
        metrics.write_text("".join(json.dumps(record) + "\n" for record in before) + '{"kind": "tra')
        rewind(metrics, 2, evaluated)
        assert [json.loads(line) for line in metrics.read_text().splitlines()] == before[:left]


def test_accumulation_equals_one_batch(tiny_config, tmp_path):
    for parts in (1, 4):
        train(config.load(tiny_config, [f"Optimizer.accumulate={parts}", f"Global.output_dir={tmp_path / str(parts)}"]))
    whole, parts = (read(tmp_path / n / "checkpoints" / "step_20" / "weights.safetensors") for n in ("1", "4"))
    assert max(float(np.abs(whole[k] - parts[k]).max()) for k in whole) < 1e-5
    losses = [[r["loss"] for r in records(tmp_path / n, "train")] for n in ("1", "4")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tiny_config, tmp_path):
    with pytest.raises(Diverged, match=r"lower Optimizer\.lr"):
        train(
            config.load(
                tiny_config, ["Optimizer.lr.base_lr=1e30", "Optimizer.clip_norm=null", "Global.log_every={steps: 7}"]
            )
        )
    for step in (tmp_path / "run" / "checkpoints").glob("step_*"):
        assert all(np.isfinite(a).all() for a in read(step / "weights.safetensors").values())


def test_the_loss_falls(tiny_config, tmp_path):
    train(
        config.load(
            tiny_config,
            [
                "Global.duration={steps: 120}",
                "Global.eval_every={steps: 120}",
                "Optimizer.lr.base_lr=3e-3",
                "Arch.init=jax",
            ],
        )
    )
    losses = [r["loss"] for r in records(tmp_path / "run", "train")]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.2


@pytest.mark.parametrize("amp", ["{level: O1}", "{level: O2}", "{level: O1, dtype: float16}"])
def test_amp_on_a_cpu_is_refused(tiny_config, amp):
    with pytest.raises(ConfigError, match="AMP needs a GPU"):
        train(config.load(tiny_config, [f"AMP={amp}", "Global.device=cpu"]))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "amp", ["{level: O1}", "{level: O2}", "{level: O1, dtype: float16}", "{level: O2, dtype: float16}"]
)
def test_amp_trains_near_float32(tiny_config, tmp_path, amp):
    train(config.load(tiny_config, ["EMA={decay: 0.9}"]))
    train(config.load(tiny_config, [f"AMP={amp}", f"Global.output_dir={tmp_path / 'amp'}", "EMA={decay: 0.9}"]))
    plain, mixed = ([r["loss"] for r in records(tmp_path / n, "train")] for n in ("run", "amp"))
    np.testing.assert_allclose(plain, mixed, rtol=0.02)


def test_step_seeds_differ():
    seeds = {step_seed(s, t, r) for s in range(3) for t in range(50) for r in range(2)}
    assert len(seeds) == 300
    assert step_seed(1, 2, 0) == step_seed(1, 2, 0)


def test_a_loss_far_beyond_the_first_is_divergence_though_it_is_a_number(tiny_config):
    with pytest.raises(Diverged, match="diverged at step"):
        train(config.load(tiny_config, ["Optimizer.lr.base_lr=1e7", "Optimizer.clip_norm=null", "Arch.init=jax"]))


def test_without_evaluation_nothing_is_called_best(tiny_config, tmp_path):
    assert train(config.load(tiny_config, ["DataLoader.Eval=null"])).best is None
    assert (tmp_path / "run" / "log.txt").read_text().splitlines()[-1].endswith("nothing was evaluated")
