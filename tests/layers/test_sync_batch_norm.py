"""Batch norm of two gloo processes with parts of a batch, against Paddle's of one process with the whole."""

import copy
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT, run_tool
from paddle import nn

from ppcore.layers.sync_batch_norm import synchronize_batch_norms

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
# Kind, shape of the whole batch, rows of the first process, whether weight and bias are learned.
CASES = {
    "maps": ("BatchNorm2D", (8, 3, 5, 4), 4, True),
    "uneven": ("BatchNorm2D", (8, 3, 5, 4), 3, True),
    "vectors": ("BatchNorm1D", (8, 6), 4, True),
    "plain": ("BatchNorm1D", (8, 6), 2, False),
}
# Each process is given the whole data, and takes its rows.
PROGRAM = """
import conftest
from test_sync_batch_norm import CASES, data, made, np, paddle, passes
import paddle.distributed as dist
from ppcore.layers.sync_batch_norm import synchronize_batch_norms

paddle.set_device("cpu")
dist.init_parallel_env()
rank = dist.get_rank()
found = {{}}
for name, (_, _, first, _) in CASES.items():
    net = made(name)
    net.eval()
    assert synchronize_batch_norms(net) == 1
    net.train()
    rows = slice(0, first) if rank == 0 else slice(first, None)
    found |= {{f"{{name}} {{key}}": value for key, value in passes(net, *(part[rows] for part in data(name))).items()}}
np.savez({folder!r} + f"/{{rank}}.npz", **found)
"""


def made(name: str) -> nn.Layer:
    """A network whose second layer is the norm."""
    kind, shape, _, learned = CASES[name]
    options = {} if learned else {"weight_attr": False, "bias_attr": False}
    net = nn.Sequential(nn.LeakyReLU(0.3), getattr(nn, kind)(shape[1], **options))
    rng = np.random.default_rng(1)
    for key, tensor in net.state_dict().items():
        tensor.set_value(rng.uniform(0.5, 2, tensor.shape).astype("float32") if learned or "_" in key else tensor)
    return net


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch far from 0, whose rows differ much, and what the outputs are multiplied with to a loss."""
    rng = np.random.default_rng(2)
    shape = CASES[name][1]
    rows = np.arange(shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
    x = 30 + rows * (rng.standard_normal(shape) + 1)
    return x.astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def passes(net: nn.Layer, x: np.ndarray, slopes: np.ndarray) -> dict[str, np.ndarray]:
    """Two passes forward and back: outputs, gradients of the input and of the weights, running statistics."""
    x = paddle.to_tensor(x, stop_gradient=False)
    net(x.detach())
    y = net(x)
    (y * y * paddle.to_tensor(slopes)).sum().backward()
    found = {"y": y, "dx": x.grad, **{f"d{key}": p.grad for key, p in net.named_parameters() if p.grad is not None}}
    return {key: value.numpy() for key, value in {**found, **net.state_dict()}.items()}


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> list[dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("halves")
    (folder / "program.py").write_text(PROGRAM.format(folder=str(folder)))
    done = run_tool(folder / "program", launch=2, log_dir=folder / "log", path=(Path(__file__).parent, ROOT / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one(halves, name):
    net = made(name)
    net.train()
    for key, want in passes(net, *data(name)).items():
        parts = [half[f"{name} {key}"] for half in halves]
        if key in ("y", "dx"):
            got = np.concatenate(parts)
        elif key.startswith("d"):
            got = sum(parts)  # each process has the gradient of its own outputs
        else:
            got = parts[0]
            np.testing.assert_array_equal(*parts)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max(), err_msg=key)


def test_halves_normalised_apart_are_not_the_batch():
    """What the test above would find without: the trap it is about."""
    x, slopes = data("maps")
    whole, half = (passes(made("maps"), x[:rows], slopes[:rows]) for rows in (8, 4))
    assert np.abs(half["y"] - whole["y"][:4]).max() > 0.1
    assert np.abs(half["1._mean"] - whole["1._mean"]).max() > 0.1


def test_evaluation_weights_and_copies_are_as_before():
    net = made("maps")
    before, x = {key: value.numpy() for key, value in net.state_dict().items()}, paddle.to_tensor(data("maps")[0])
    net.eval()
    want = net(x).numpy()
    assert synchronize_batch_norms(net) == 1
    np.testing.assert_array_equal(net(x).numpy(), want)
    assert list(net.state_dict()) == list(before)
    other = copy.deepcopy(net)
    other[1].weight.set_value(paddle.zeros_like(other[1].weight))
    assert np.abs(other(x).numpy() - want).max() > 0.1, "a copy has weights of its own"
    np.testing.assert_array_equal(net(x).numpy(), want)


def test_on_a_gpu_it_is_paddles_layer_with_the_same_tensors(monkeypatch):
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    net = made("maps")
    before = net.state_dict()
    assert synchronize_batch_norms(net) == 1
    assert type(net[1]) is nn.SyncBatchNorm
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(after[key] is before[key] for key in before)
