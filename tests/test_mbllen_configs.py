"""MBLLEN's configurations: the code's recipe and the text's, and a training step of each quick one."""

import math
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppcore import config
from ppcore.config import components
from ppcore.config.durations import Plan
from ppcore.engine import build
from ppcore.engine.run_folder import essentials

FOLDER = Path(__file__).resolve().parents[1] / "configs"
CODE, TEXT = (FOLDER / "mbllen" / f"{name}.yaml" for name in ("synthetic", "synthetic_paper"))
QUICK = sorted(FOLDER.glob("quick/mbllen_*.yaml"))


@pytest.mark.parametrize("path", [CODE, TEXT], ids=lambda path: path.stem)
def test_has_the_papers_network(path):
    with paddle.LazyGuard():
        model = components.build(config.load(path).Arch)
    assert sum(math.prod(p.shape) for p in model.parameters()) == 450_171


def test_code_and_text_differ_where_they_differ():
    old, new = (essentials(dict(config.load(path).tree)) for path in (CODE, TEXT))
    differ = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    assert {key for key in differ if not key.startswith(("Global.", "Optimizer.lr"))} == {
        "Loss.region", "DataLoader.Train.batch_size",
    }  # fmt: skip
    assert (old["Loss.region"], new["Loss.region"]) == ("code", "fixed")
    assert (old["DataLoader.Train.batch_size"], new["DataLoader.Train.batch_size"]) == (16, 24)


@pytest.mark.parametrize(("path", "rates"), [(CODE, (0.99e-3, 0.99**2 * 1e-3)), (TEXT, (2e-3, 1.9e-3))])
def test_rates_of_the_first_two_epochs(path, rates):
    loaded = config.load(path)
    plan = Plan(steps_per_epoch=200, batch_size=loaded.DataLoader.Train.batch_size, total_steps=40_000)
    rate = components.build(loaded.Optimizer.lr).bind(plan)
    assert [rate(step) for step in (0, 199, 200)] == pytest.approx([rates[0], rates[0], rates[1]])


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_quick_is_small_and_says_what_its_images_are(path):
    loaded = config.load(path)
    assert (loaded.Arch["width"], loaded.Arch["depth"]) == (16, 4)
    assert loaded.Loss["context"] is False, "the suite has no VGG weights"
    text = " ".join(path.read_text(encoding="utf-8").replace("#", "").split())
    assert "No camera took the dark ones" in text if "photographs" in path.stem else "computed" in text


def test_no_test_image_of_lol_is_trained_on():
    for path in [CODE, TEXT, *QUICK]:
        assert "eval15" not in path.read_text(encoding="utf-8")


def test_a_step_on_the_photographs_lowers_the_loss():
    [path] = [path for path in QUICK if "photographs" in path.stem]
    loaded = config.load(path, ["DataLoader.Train.transforms.crop.size=64"])
    part = loaded.DataLoader.Train
    transforms = [components.build(node) for node in part.transforms.values()]
    sample = build.dataset(part, None).load(3)
    rng = np.random.default_rng(0)
    for transform in transforms:
        if getattr(transform, "on_sample", False):
            sample = transform(sample, rng)
    assert sample["image"].shape == sample["target"].shape == (3, 64, 64)
    x, target = (paddle.to_tensor(sample[key][None]) for key in ("image", "target"))
    assert float(x.mean()) < 0.8 * float(target.mean())
    paddle.seed(0)
    model, criterion = components.build(loaded.Arch), components.build(loaded.Loss)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    losses = []
    for _ in range(15):
        loss = criterion(model(x), {"target": target})
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.95 * losses[0], losses
