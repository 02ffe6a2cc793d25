"""The configurations of SKF's loss and of the SMG-style network: data, network, criterion and metric fit together."""

import numpy as np
import paddle
import pytest
from conftest import ROOT

from ppcore import config
from ppcore.config import components
from ppcore.data import TrainBatchSampler, TrainLoader
from ppcore.engine import build

CONFIGS = sorted((ROOT / "configs" / "llie").glob("*.yaml"))


def test_there_are_some():
    assert {"smg_style", "uhdfour_semantic_histogram"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("name", ["smg_style", "uhdfour_semantic_histogram"])
def test_trains(name):
    """A batch as the configuration makes it, one step, and one evaluation."""
    loaded = config.load(ROOT / "configs" / "llie" / f"{name}.yaml", ["DataLoader.Train.transforms.crop.size=64"])
    part = loaded.DataLoader.Train
    images = components.build(part.dataset)
    stream = TrainBatchSampler(len(images), 1, 0, total_steps=1)
    batch = next(iter(TrainLoader(images, build.transforms(part.transforms), [], 0, stream)))
    paddle.seed(0)
    model, criterion = components.build(loaded.Arch), components.build(loaded.Loss)
    model.train()
    tensors = build.tensors(batch)
    loss = criterion(model(tensors["image"]), tensors)
    loss.backward()
    assert np.isfinite(float(loss))
    assert {n for n, p in model.named_parameters() if p.grad is None} == set()
    model.eval()
    metric = components.build(loaded.Metric)
    with paddle.no_grad():
        metric.update(model(tensors["image"]), batch)
    assert 0 < metric.compute()["psnr"] < 60


def test_the_histogram_is_a_part_of_the_loss():
    path = ROOT / "configs" / "llie" / "uhdfour_semantic_histogram.yaml"
    rng = np.random.default_rng(0)
    y, target = (paddle.to_tensor(rng.random((1, 3, 32, 32), np.float32)) for _ in range(2))
    batch = {"target": target, "label_map": paddle.to_tensor(rng.integers(0, 15, (1, 32, 32)))}
    low = paddle.zeros([1, 3, 8, 8])
    values = []
    for weight in (1.0, 2.0, 3.0):
        loaded = config.load(path, [f"Loss.terms.histogram.weight={weight}"])
        values.append(float(components.build(loaded.Loss)((y, low), batch)))
    assert values[1] - values[0] > 1e-4
    assert values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-2)
