"""Swin beside timm's and PaddleClas's, with the same weights: equal to the one, and to the other but for its lost rule."""

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import run_python

from ppcore import weights
from ppcore.config import components
from ppswin import SwinTransformer

pytestmark = pytest.mark.reference
TINY = dict(img_size=32, patch_size=4, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=5)


@pytest.fixture
def ours() -> SwinTransformer:
    paddle.seed(3)
    model = SwinTransformer(**TINY)
    for parameter in model.parameters():  # no bias is zero
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    model.eval()
    return model


def answer(model, x: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


def gap(got: np.ndarray, want: np.ndarray) -> float:
    return np.abs(got - want).max() / np.abs(want).max()


def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype("float32")


IN_TIMM = """
import sys
import numpy as np
from benchmarks.timm_alone import timm
timm()
import torch
{snippet}
with torch.no_grad():
    np.save("theirs.npy", model.eval()(torch.from_numpy(np.load("x.npy"))).numpy())
"""


@pytest.mark.parametrize(
    ("name", "rest"), [("SwinTransformer", {}), ("swin_tiny_patch4_window7_224", {}), ("swin_tiny_patch4_window7_224_22k", {"window_rule": "timm"})]
)  # fmt: skip
def test_timm_by_the_line_on_the_card(name, rest, tmp_path):
    """Our file in timm, loaded as its card says, computes the same."""
    for needed in ("timm", "torch"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    arch = {"name": f"ppswin.{name}", **TINY, **rest}
    if name.endswith("22k"):
        del arch["num_classes"]
    paddle.seed(3)
    model = components.build(arch)
    for parameter in model.parameters():  # no bias is zero
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    model.eval()
    weights.save(model, tmp_path / "ours.safetensors", layout="timm")
    np.save(tmp_path / "x.npy", image())
    snippet = model.weight_maps()["timm"].snippet("ours.safetensors", arch, model)
    run_python(IN_TIMM.format(snippet=snippet), tmp_path)
    assert gap(answer(model, image()), np.load(tmp_path / "theirs.npy")) < 1e-5


def test_paddleclas_without_the_rule_and_with_it(ours, monkeypatch):
    found = importlib.util.find_spec("paddleclas")
    if found is None:
        pytest.skip("paddleclas is not installed")
    monkeypatch.syspath_prepend(str(Path(found.origin).parent))
    zoo = importlib.import_module("ppcls.arch.backbone.legendary_models.swin_transformer")
    arguments = {**TINY, "class_num": TINY["num_classes"]}
    del arguments["num_classes"]
    theirs = zoo.SwinTransformer(**arguments)
    stored = {name: value.numpy() for name, value in theirs.state_dict().items()}
    index = {name for name in stored if name.endswith("relative_position_index")}
    arrays = weights.export(ours, layout="paddleclas")
    assert stored.keys() - arrays.keys() == index
    assert len(index) == 4
    theirs.set_state_dict({**{name: stored[name] for name in index}, **arrays})
    theirs.eval()
    lost = answer(theirs, image())
    assert gap(lost, answer(ours, image())) > 1e-4
    theirs.layers[1].blocks[1].shift_size = 0
    assert gap(answer(theirs, image()), answer(ours, image())) < 1e-5
    again = SwinTransformer(**TINY)
    file = {name: value.numpy() for name, value in theirs.state_dict().items()}
    again.set_state_dict(weights.convert(file, source="paddleclas", model=again))
    again.eval()
    np.testing.assert_array_equal(answer(again, image()), answer(ours, image()))
    as_detection = SwinTransformer(**TINY, window_rule="detection")
    as_detection.set_state_dict(ours.state_dict())
    as_detection.eval()
    assert gap(lost, answer(as_detection, image())) < 1e-5  # what they compute has a name here
