"""LARS in its forms against 20 steps of the references' (MoCo v3, SimCLR), float64."""

import math

import filling
import numpy as np
import paddle
import pytest

from ppcore.optim.lars import LarsOptimizer

FORMS = {
    "moco": ("rate_outside", False),
    "simclr_classic": ("rate_inside", False),
    "simclr_popular": ("trust_of_buffer", False),
    "simclr_classic_nesterov": ("rate_inside", True),
}
STEPS, WARMUP, PEAK = 20, 4, 2.0


def rate(step):
    if step < WARMUP:
        return PEAK * step / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def adapted(case, name, value):
    if case == "moco":
        return value.ndim > 1
    return not any(part in name for part in ("batch_normalization", "bias", "head_supervised"))


@pytest.mark.parametrize("path", filling.files("ssl_lars"))
@pytest.mark.parametrize("case", FORMS)
def test_steps(path, case):
    manifest, arrays = filling.load(path)
    start = filling.weights(manifest) | {"zero.kernel": np.zeros([3, 5], np.float32)}
    parameters = {n: paddle.create_parameter(list(v.shape), "float32") for n, v in start.items()}
    for name, p in parameters.items():
        p.set_value(start[name])
    chosen = {parameters[name].name for name, value in start.items() if adapted(case, name, value)}
    settings = manifest["hyper_parameters"]
    form, nesterov = FORMS[case]
    optimizer = LarsOptimizer(
        list(parameters.values()), chosen, chosen, settings["weight_decay"], settings["momentum"],
        settings["trust_coefficient"], form, nesterov,
    )  # fmt: skip
    rng, gaps = np.random.default_rng(filling.seed_of(path) + 1000), filling.Gaps()
    largest = {name: np.abs(arrays[f"{case}/{name}"]).max() for name in start}
    for step in range(STEPS):
        for name, p in parameters.items():
            gradient = (0.3 * rng.standard_normal(start[name].shape)).astype(np.float32)
            (p * paddle.to_tensor(gradient)).sum().backward()
        optimizer.set_lr(rate(step))
        optimizer.step()
        optimizer.clear_grad()
        for name, p in parameters.items():
            want = arrays[f"{case}/{name}"][step]
            gaps.add(f"step {step} {name}", float(np.abs(p.numpy() - want).max() / largest[name]), 5e-6)
    gaps.check()
