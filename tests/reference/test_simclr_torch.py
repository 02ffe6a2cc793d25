"""The torch version that SimCLR's stored reference comes from, against the values of the published formulas and code."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "golden")]
import filling  # noqa: E402
import torch_simclr  # noqa: E402

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("path", filling.files("ssl_ntxent"))
@pytest.mark.parametrize("temperature", ["0.07", "0.1", "0.5", "1.0"])
def test_the_loss(path, temperature):
    """Measured: 3e-15 relative, anchors 4e-15 and gradients 3e-15 of the largest."""
    _, arrays = filling.load(path)
    hidden = torch.from_numpy(arrays["hidden"]).double().requires_grad_()
    loss = torch_simclr.nt_xent(hidden, float(temperature))
    loss.backward()
    case = f"tau{temperature}"
    assert loss.item() == pytest.approx(float(arrays[f"{case}/loss"][0]), rel=1e-12)
    each = torch_simclr.per_anchor(hidden, float(temperature)).detach().numpy()
    assert filling.gap(each, arrays[f"{case}/per_anchor"]) < 1e-12
    assert filling.gap(hidden.grad.numpy(), arrays[f"{case}/grad"]) < 1e-9


@pytest.mark.parametrize("path", filling.files("ssl_lars"))
def test_the_optimizer(path):
    """SimCLR's form, in float64, of tensors that it adapts by having two dimensions or more. Measured: 1e-16 of the largest."""
    manifest, arrays = filling.load(path)
    settings, start = manifest["hyper_parameters"], filling.weights(manifest)
    start["zero.kernel"] = np.zeros([3, 5], np.float32)
    parameters = {name: torch.nn.Parameter(torch.from_numpy(array).double()) for name, array in start.items()}
    compared = {name: p for name, p in parameters.items() if name != "head_supervised.kernel"}  # theirs goes by name
    optimizer = torch_simclr.LARS(
        compared.values(), momentum=settings["momentum"], weight_decay=settings["weight_decay"],
        trust=settings["trust_coefficient"],
    )  # fmt: skip
    rng, gaps = np.random.default_rng(filling.seed_of(path) + 1000), filling.Gaps()
    for step in range(20):
        for name, p in parameters.items():
            p.grad = torch.from_numpy((0.3 * rng.standard_normal(start[name].shape)).astype(np.float32)).double()
        optimizer.step(torch_simclr.rate(dict(lr=2.0, warmup=4, steps=20), step))
        for name, p in compared.items():
            want = arrays[f"simclr_classic/{name}"]
            gaps.add(f"{step} {name}", float(np.abs(p.detach().numpy() - want[step]).max() / np.abs(want).max()), 1e-12)
    gaps.check()
