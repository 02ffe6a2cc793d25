"""A step of training takes nothing through the host, so that a GPU is never waited for but to log."""

import sys
from types import SimpleNamespace

import paddle
import pytest
from host_transfers import counted

from ppcore import config, optim
from ppcore.engine import pace
from ppcore.engine.distributed import World
from ppcore.engine.precision import as_number
from ppcore.engine.train import train
from ppcore.engine.update import _update
from ppcore.optim import ScheduledOptimizer

QUIET = [
    "Global.eval_every={steps: 100}", "Global.save_every={steps: 100}", "Global.visualdl_graph=false", "DataLoader.Eval=null",
    "Arch.drop_rate=0.1", "Arch.drop_path_rate=0.1",
]  # fmt: skip
RECIPES = {
    "AdamW, clipping, moving average, accumulation": ["EMA={decay: 0.9}", "Optimizer.accumulate=2"],
    "layer-wise rates": ["Optimizer.layer_decay=0.7", "Arch.layer_scale_init=0.1"],
    "Lamb, binary cross-entropy, Mixup": [
        "Optimizer.name=ppcore.optim.Lamb", "Loss={name: ppcore.losses.BinaryCrossEntropy}",
        "DataLoader.Train.batch_transforms={mix: {name: ppcore.data.Mixup, label_smoothing: 0.0}}",
    ],
    "Momentum, smoothed labels": [
        "Optimizer.name=ppcore.optim.Momentum", "Loss={name: ppcore.losses.CrossEntropy, label_smoothing: 0.1}",
    ],
}  # fmt: skip


@pytest.fixture
def transfers(tiny_config, tmp_path, monkeypatch):
    """Counts the transfers of a training of so many steps."""
    monkeypatch.setattr(pace.Pace, "due", lambda self: False)  # a line of progress every five seconds is logging

    def count(steps, *options):
        length = [f"Global.duration={{steps: {steps}}}", f"Global.output_dir={tmp_path / 'run'}_{steps}"]
        with counted() as found:
            train(config.load(tiny_config, [*QUIET, *length, *options]))
        return found

    return count


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_longer_training_has_no_more_of_them(recipe, transfers):
    options = [*RECIPES[recipe], "Global.log_every={steps: 100}"]
    assert transfers(9, *options) == transfers(3, *options)


def test_but_for_what_is_logged(transfers):
    assert transfers(9).total() > transfers(3).total()


@pytest.mark.parametrize(("good", "transfers"), [(True, 1), (False, 3)])
def test_float16_has_one(good, transfers, monkeypatch):
    """The loss scaler asks whether the gradients are numbers; where they are not, Paddle prints the scale, old and new."""
    place = SimpleNamespace(is_gpu_place=lambda: True)
    amp = sys.modules["paddle.amp.grad_scaler"]
    with monkeypatch.context() as patch:
        patch.setattr(amp, "_dygraph_tracer", lambda: SimpleNamespace(_expected_place=place))
        precision = SimpleNamespace(scaler=paddle.amp.GradScaler(init_loss_scaling=1024.0, decr_every_n_nan_or_inf=1))
    as_number(precision.scaler)
    assert precision.scaler.is_enable()
    monkeypatch.setattr(amp.amp_global_state(), "amp_dtype", "float16")  # as a forward pass under autocast leaves it
    network = paddle.nn.Linear(3, 2)
    made = optim.make(network, optim.AdamW, weight_decay=0.1, no_weight_decay=["1d"])
    scheduled = ScheduledOptimizer(made, network.parameters(), lambda step: 0.1, clip_norm=1.0)
    before = network.weight.numpy()
    for step in range(3):
        scheduled.prepare(step)
        with counted() as found:
            loss = network(paddle.ones([4, 3])).sum() * (1.0 if good else float("inf"))
            precision.scaler.scale(loss).backward()
            _update(scheduled, 0, World(0, 1, "cpu"), precision, report=False)
        assert found.total() == transfers, found
    assert float(precision.scaler._scale) == (1024.0 if good else 128.0)
    assert (network.weight.numpy() != before).any() == good
