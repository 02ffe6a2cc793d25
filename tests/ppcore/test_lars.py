"""LARS against the formulas in numpy, through a checkpoint, and where Paddle's own is wrong."""

import numpy as np
import paddle
import pytest

from ppcore import optim
from ppcore.errors import ConfigError

MOMENTUM, TRUST, DECAY = 0.8, 0.02, 0.1


def net():
    paddle.seed(4)
    made = paddle.nn.Linear(3, 5)
    made.bias.set_value(paddle.full([5], 0.5))
    return made


def lars(model, decay=DECAY, **options):
    rules = {"weight_decay": decay, "no_weight_decay": ["1d"] if decay else []}
    return optim.make(model, optim.LARS, momentum=MOMENTUM, trust_coefficient=TRUST, **rules, **options)


def update(model, optimizer, step, rate):
    """One update by random gradients, which are returned."""
    rng = np.random.default_rng(step)
    given = {name: rng.normal(size=p.shape).astype(np.float32) for name, p in model.named_parameters()}
    paddle.add_n([(p * paddle.to_tensor(given[n])).sum() for n, p in model.named_parameters()]).backward()
    optimizer.set_lr(rate)
    optimizer.step()
    optimizer.clear_grad()
    return given


def expected(form, nesterov, w, gradients, rates, decay, adapted):
    """The weights after each update, float64."""
    w, v, found = w.astype(np.float64), np.zeros(w.shape), []
    for g, rate in zip(gradients, rates, strict=True):
        u = g + decay * w

        def ratio(by, w=w):
            return TRUST * np.linalg.norm(w) / np.linalg.norm(by) if adapted else 1.0

        added = {"rate_outside": ratio(u) * u, "rate_inside": rate * ratio(u) * u, "trust_of_buffer": u}[form]
        v = MOMENTUM * v + added
        step = MOMENTUM * v + added if nesterov else v
        factor = rate * ratio(step) if form == "trust_of_buffer" else {"rate_outside": rate, "rate_inside": 1.0}[form]
        w = w - factor * step
        found.append(w)
    return found


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("form", ["rate_outside", "rate_inside", "trust_of_buffer"])
def test_formulas(form, nesterov):
    model, rates = net(), [0.0, 0.5, 1.0, 0.7]
    start = {name: p.numpy() for name, p in model.named_parameters()}
    optimizer = lars(model, form=form, nesterov=nesterov)
    given, ours = [], []
    for step, rate in enumerate(rates):
        given.append(update(model, optimizer, step, rate))
        ours.append({name: p.numpy().copy() for name, p in model.named_parameters()})
    for name, adapted in (("weight", True), ("bias", False)):
        want = expected(form, nesterov, start[name], [g[name] for g in given], rates, DECAY * adapted, adapted)
        for step, values in enumerate(want):
            np.testing.assert_allclose(ours[step][name], values, rtol=2e-6, atol=1e-7)


def test_without_decay_there_is_a_trust_ratio():
    """Paddle's own takes a plain step then."""
    model = net()
    before = model.weight.numpy()
    update(model, lars(model, decay=0.0), 0, 1.0)
    moved = np.linalg.norm(model.weight.numpy() - before) / np.linalg.norm(before)
    assert moved == pytest.approx(TRUST, rel=1e-5)
    theirs = net()
    paddles = paddle.incubate.optimizer.LarsMomentumOptimizer(
        1.0, MOMENTUM, lars_coeff=TRUST, lars_weight_decay=0.0, parameter_list=theirs.parameters()
    )
    gradient = np.random.default_rng(0).normal(size=[3, 5]).astype(np.float32)
    (theirs.weight * paddle.to_tensor(gradient)).sum().backward()
    paddles.step()
    np.testing.assert_allclose(theirs.weight.numpy(), before - gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_where_a_norm_is_zero_the_ratio_is_one(zero):
    model = net()
    if zero == "weight":
        model.weight.set_value(paddle.zeros([3, 5]))
    before, optimizer = model.weight.numpy(), lars(model, decay=0.0)
    gradient = np.full([3, 5], 0.0 if zero == "gradient" else 2.0, np.float32)
    (model.weight * paddle.to_tensor(gradient)).sum().backward()
    optimizer.set_lr(0.25)
    optimizer.step()
    np.testing.assert_allclose(model.weight.numpy(), before - 0.25 * gradient, rtol=1e-6)


def test_goes_on_from_its_state_bit_for_bit():
    whole = net()
    optimizer = lars(whole)
    for step in range(4):
        update(whole, optimizer, step, 0.3 + step)
    first = net()
    made = lars(first)
    for step in range(2):
        update(first, made, step, 0.3 + step)
    kept = [made.state_dict()[f"{p.name}_velocity_0"].clone() for p in first.parameters()]
    second = net()
    second.set_state_dict(first.state_dict())
    again, state = lars(second), {}
    for p, tensor in zip(second.parameters(), kept, strict=True):
        tensor.name = f"{p.name}_velocity_0"
        state[tensor.name] = tensor
    again.set_state_dict(state)
    for step in range(2, 4):
        update(second, again, step, 0.3 + step)
    for ours, want in zip(second.parameters(), whole.parameters(), strict=True):
        np.testing.assert_array_equal(ours.numpy(), want.numpy())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"trust_coefficient": 0.0}, "trust_coefficient is 0.0"),
        ({"form": "inside"}, "form is 'inside'"),
    ],
)
def test_arguments_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        optim.make(net(), optim.LARS, weight_decay=0.0, no_weight_decay=[], **options)


def test_each_gradient_is_clipped_by_its_own_norm():
    model = net()
    (model.weight * 3.0).sum().backward()
    (model.bias * 0.01).sum().backward()
    before = {name: p.grad.numpy() for name, p in model.named_parameters()}
    optim.clip_each_grad(model.parameters(), 0.5)
    norm = np.linalg.norm(before["weight"])
    np.testing.assert_allclose(model.weight.grad.numpy(), before["weight"] * 0.5 / (norm + 1e-6), rtol=1e-6)
    np.testing.assert_array_equal(model.bias.grad.numpy(), before["bias"])
