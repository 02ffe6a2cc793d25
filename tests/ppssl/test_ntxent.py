"""NT-Xent against the sum written out, and of two gloo processes against one."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT, run_tool

from ppcore.errors import ConfigError
from ppssl import NTXent

PROGRAM = """
import conftest
from test_ntxent import np, paddle, passed, views
import paddle.distributed as dist

paddle.set_device("cpu")
dist.init_parallel_env()
rank = dist.get_rank()
first, second = (view[3 * rank : 3 * rank + 3] for view in views())
np.savez({folder!r} + f"/{{rank}}.npz", **passed(first, second))
"""


def views(images=6):
    rng = np.random.default_rng(11)
    base = rng.standard_normal((images, 5))
    return [(base + 0.5 * rng.standard_normal(base.shape)).astype(np.float32) for _ in range(2)]


def passed(first, second, **options):
    """Loss, contrast accuracy and gradients."""
    inputs = [paddle.to_tensor(view, stop_gradient=False) for view in (first, second)]
    loss, nearest = NTXent(0.2, **options).measured(*inputs)
    loss.backward()
    return {"loss": loss.numpy(), "nearest": nearest.numpy(), **{f"d{i}": x.grad.numpy() for i, x in enumerate(inputs)}}


def written_out(first, second, tau, cosine):
    """Equation 1 for every ordered pair, float64."""
    z = np.concatenate([first, second]).astype(np.float64)
    if cosine:
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    s, size = z @ z.T / tau, len(first)
    losses = []
    for i in range(2 * size):
        others = [k for k in range(2 * size) if k != i]
        losses.append(-s[i, (i + size) % (2 * size)] + np.log(np.exp(s[i, others]).sum()))
    return np.mean(losses)


@pytest.mark.parametrize("cosine", [True, False])
def test_is_the_equation(cosine):
    first, second = views()
    want = written_out(first, second, 0.2, cosine)
    assert passed(first, second, normalize=cosine)["loss"] == pytest.approx(want, rel=2e-6)
    assert passed(first, second, normalize=cosine, summed=True)["loss"] == pytest.approx(2 * want, rel=2e-6)


def test_the_length_of_a_projection_does_not_count():
    first, second = views()
    assert passed(3 * first, 0.5 * second)["loss"] == pytest.approx(passed(first, second)["loss"], rel=1e-5)


def test_two_processes_are_one(tmp_path):
    """Each has its images' anchors, all images' negatives, and the gradient through the others' losses."""
    (tmp_path / "program.py").write_text(PROGRAM.format(folder=str(tmp_path)))
    done = run_tool(
        tmp_path / "program", launch=2, log_dir=tmp_path / "log", path=(Path(__file__).parent, ROOT / "tests")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    halves = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    one = passed(*views())
    for name in ("loss", "nearest"):
        assert np.mean([half[name] for half in halves]) == pytest.approx(float(one[name]), rel=1e-6)
    for name in ("d0", "d1"):
        # As gradients of weights are: the mean over the processes.
        np.testing.assert_allclose(np.concatenate([half[name] for half in halves]) / 2, one[name], rtol=1e-5, atol=1e-7)
    apart = [passed(first, second)["loss"] for first, second in zip(*(np.split(v, 2) for v in views()), strict=True)]
    assert abs(np.mean(apart) - one["loss"]) > 0.1, "what it would be without the gather"


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperatures_are_above_zero(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        NTXent(temperature)
