"""Layer-wise learning rates, and weight decay as a function of the step."""

import json
import re

import numpy as np
import paddle
import pytest

from ppcore import config, optim
from ppcore.errors import ConfigError
from ppvit import VisionTransformer

TINY = dict(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3)


def adamw(weight, gradients, rates, decays, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Loshchilov and Hutter 2019, algorithm 2, in float64."""
    m = v = np.zeros_like(weight)
    for t, (g, lr, decay) in enumerate(zip(gradients, rates, decays, strict=True), 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        weight = weight - lr * step - lr * decay * weight
    return weight


def trained(layer, optimizer: optim.ScheduledOptimizer, steps: int, gradient) -> None:
    for step in range(steps):
        optimizer.prepare(step)
        (layer.weight * paddle.to_tensor(gradient(step))).sum().backward()
        optimizer.paddle.step()
        optimizer.paddle.clear_grad()


def test_rate_and_decay_follow_their_schedules():
    layer = paddle.nn.Linear(4, 3, bias_attr=False)
    start = layer.weight.numpy().astype(np.float64)
    gradients = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)
    made = optim.make(layer, optim.AdamW, weight_decay=0.1, no_weight_decay=[])
    rates, decays = [0.1 / (step + 1) for step in range(6)], [0.1 + 0.3 * step for step in range(6)]
    optimizer = optim.ScheduledOptimizer(made, list(layer.parameters()), rates.__getitem__, decay=decays.__getitem__)
    trained(layer, optimizer, 6, gradients.__getitem__)
    np.testing.assert_allclose(layer.weight.numpy(), adamw(start, gradients, rates, decays), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("factory", [optim.AdamW, optim.Momentum, optim.SGD, optim.Lamb])
def test_a_layers_rate_is_its_share(factory):
    """Two copies of a network: one with a layer decay, one with each layer's rate as the rate of all."""
    decay, moved = 0.5, {}
    for name, layer_decay, rate in (("decayed", decay, 0.1), *((f"rate{i}", None, 0.1 * decay**i) for i in range(4))):
        paddle.seed(0)
        model = VisionTransformer(**TINY)
        made = optim.make(model, factory, weight_decay=0.0, no_weight_decay=[], layer_decay=layer_decay)
        made.set_lr(rate)
        before = {n: p.numpy().copy() for n, p in model.named_parameters()}
        model(paddle.linspace(-1, 1, 2 * 3 * 64).reshape([2, 3, 8, 8])).square().mean().backward()
        made.step()
        moved[name] = {n: p.numpy() - before[n] for n, p in model.named_parameters()}
    for name, layer in VisionTransformer(**TINY).layer_ids().items():
        np.testing.assert_array_equal(moved["decayed"][name], moved[f"rate{3 - layer}"][name], err_msg=name)


@pytest.mark.parametrize("factory", [optim.AdamW, optim.Momentum, optim.SGD, optim.Lamb])
def test_parameters_apart_have_their_own_rate_and_the_same_decay(factory):
    """Two copies of a network: one with a rate of its own for some, one with that rate for all."""
    rates, own, moved = [0.0, 0.1, 0.05], [0.0, 0.003, 0.003], {}
    for name in ("apart", "main", "own"):
        paddle.seed(0)
        model = VisionTransformer(**TINY)
        made = optim.make(model, factory, weight_decay=0.1, no_weight_decay=["1d"])
        apart = optim.named_parameters(model, ["proj.weight", "blocks.1.norm1"]) if name == "apart" else {}
        optimizer = optim.ScheduledOptimizer(
            made,
            list(model.parameters()),
            (own if name == "own" else rates).__getitem__,
            apart=[(parameters, own.__getitem__) for parameters in apart.values()],
        )
        for step in range(3):
            optimizer.prepare(step)
            for p in model.parameters():  # a gradient that does not depend on how far the others went
                (p * (0.1 + step)).sum().backward()
            made.step()
            made.clear_grad()
        moved[name] = {n: p.numpy() for n, p in model.named_parameters()}
    chosen = {"patch_embed.proj.weight", *(f"blocks.{i}.attn.proj.weight" for i in range(2))}
    chosen |= {"blocks.1.norm1.weight", "blocks.1.norm1.bias"}
    for name, weight in moved["apart"].items():
        want = moved["own" if name in chosen else "main"][name]
        np.testing.assert_allclose(weight, want, rtol=1e-6, atol=1e-7, err_msg=name)
        assert "proj.weight" not in name or np.abs(moved["own"][name] - moved["main"][name]).max() > 1e-3


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["proj.wieght"], "'proj.wieght' names no tensor (did you mean 'proj.weight'?)"),
        (["roj.weight"], "'roj.weight' names no tensor"),
        (["attn", "proj.weight"], "'attn' and 'proj.weight' both name blocks.0.attn.proj.weight"),
    ],
)
def test_a_rule_names_tensors_that_no_other_names(rules, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        optim.named_parameters(VisionTransformer(**TINY), rules)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_lr_factors": {"head": -1}}, r"base_lr_factors\.head: .*greater than or equal to 0"),
        ({"base_lr_factors": {"head": 2}, "layer_decay": 0.5}, "both say a parameter's rate"),
    ],
)
def test_factors_of_the_base_rate_that_say_nothing_sensible(change, said):
    optimizer = {"name": "ppcore.optim.SGD", "lr": {"name": "ppcore.schedules.Constant", "base_lr": 0.1}}
    tree = {
        "Global": {"output_dir": "output/x"},
        "Arch": {"name": "ppvit.vit_tiny_patch16_224"},
        "Optimizer": optimizer | change,
    }
    with pytest.raises(ConfigError, match=said):
        config.check(tree, "c.yaml")


def test_a_model_that_does_not_say_its_layers_is_refused():
    with pytest.raises(ConfigError, match="Linear does not say which layer"):
        optim.layer_scales(paddle.nn.Linear(2, 2), 0.5)


@pytest.mark.parametrize(("case", "decay"), [("vit_b_0.65_global_pool", 0.65), ("vit_b_0.75_class_token", 0.75)])
def test_the_official_rule(golden, case, decay):
    stored = json.loads((golden / "ssl_layer_decay.json").read_text())["names"][case]
    want = np.load(golden / "ssl_layer_decay.npz")[f"{case}/lr_scale"]
    with paddle.LazyGuard():
        model = VisionTransformer(patch_size=16, embed_dim=768, depth=12, num_heads=12)
    scales = optim.layer_scales(model, decay)
    ours = [scales[name.replace("fc_norm", "norm")] for name in stored]
    np.testing.assert_allclose(ours, want, rtol=1e-12)
