"""VDSR: against numpy, its layouts, and the gradient clipping that follows the learning rate."""

import numpy as np
import paddle
import pytest
from sr_reference import convolution, image, parameters, randomized, run, seen_from

import ppcore.weights
import ppsr
from ppcore import optim
from ppcore.errors import ConfigError

TINY = dict(depth=5, width=4)


def test_has_the_papers_parameters():
    assert parameters(ppsr.vdsr()) == 665_921
    assert parameters(ppsr.vdsr(bias=False)) == 664_704


@pytest.mark.parametrize("bias", [True, False])
def test_is_the_network_in_numpy(bias):
    model, x = randomized(ppsr.VDSR(bias=bias, **TINY)), image(1, 11, 13)
    y = x.astype(np.float64)
    for conv in model.convs[:-1]:
        y = np.maximum(convolution(y, conv, "zero"), 0)
    want = x + convolution(y, model.convs[-1], "zero")
    assert np.abs(want - x).max() > 0.1
    np.testing.assert_allclose(run(model, x), want, rtol=0, atol=2e-6)


def test_begins_as_he_and_others_say():
    paddle.seed(0)
    model = ppsr.vdsr()
    assert float(model.convs[7].weight.std()) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert not model.convs[7].bias.numpy().any()


def test_sees_as_far_as_it_says():
    model = randomized(ppsr.VDSR(**TINY))
    for parameter in model.parameters():
        parameter.set_value(parameter.abs())
    assert model.reach == 5
    assert seen_from(model, 1, 21) == (5, 15)
    assert ppsr.vdsr().reach == 20


def test_the_authors_layout_both_ways():
    model = randomized(ppsr.VDSR(**TINY))
    arrays = ppcore.weights.export(model, layout="vdsr")
    assert {name: a.shape for name, a in arrays.items() if name.endswith(("/1", "/5"))} == {
        "weight/1": (3, 3, 1, 4), "bias/1": (4, 1), "weight/5": (3, 3, 4, 1), "bias/5": (1, 1)
    }  # fmt: skip
    np.testing.assert_array_equal(arrays["weight/3"][2, 0, 1], model.convs[2].weight.numpy()[:, 1, 2, 0])
    state = ppcore.weights.convert(arrays, source="vdsr", model=ppsr.VDSR(**TINY))
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)


def test_pytorch_vdsr():
    model = randomized(ppsr.VDSR(bias=False, **TINY))
    arrays = ppcore.weights.export(model, layout="pytorch_vdsr")
    middle = [f"residual_layer.{place}.conv.weight" for place in range(3)]
    assert set(arrays) == {"input.weight", *middle, "output.weight"}
    np.testing.assert_array_equal(arrays[middle[1]], model.convs[2].weight.numpy())
    state = ppcore.weights.convert(arrays, source="pytorch_vdsr", model=ppsr.VDSR(bias=False, **TINY))
    np.testing.assert_array_equal(state["convs.4.weight"], model.convs[4].weight.numpy())


@pytest.mark.parametrize("options", [{"depth": 1}, {"width": 0}, {"bias": 1}])
def test_says_what_it_does_not_take(options):
    with pytest.raises(ConfigError, match=f"VDSR: {next(iter(options))} is"):
        ppsr.VDSR(**options)


class TestClippedByRate:
    """Every entry at ±theta / rate, before the weight decay, against the steps in numpy."""

    def steps(self, rates: list[float], *, theta: float, decay: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Our weights and numpy's after a step of each rate, and the share of entries that were cut."""
        paddle.seed(0)
        model = paddle.nn.Linear(6, 5, bias_attr=False)
        x, target = (paddle.to_tensor(image(9, size, seed=size)) for size in (6, 5))
        optimizer = optim.make(
            model, ppsr.ClippedByRate, weight_decay=decay, no_weight_decay=[], momentum=0.9, theta=theta
        )
        want, velocity, cut = model.weight.numpy().astype(np.float64), 0.0, []
        for rate in rates:
            optimizer.set_lr(rate)
            paddle.square(model(x) - target).sum().backward()
            gradient = 2 * x.numpy().T.astype(np.float64) @ (x.numpy() @ want - target.numpy())
            cut.append(np.abs(gradient) > theta / rate)
            velocity = 0.9 * velocity + np.clip(gradient, -theta / rate, theta / rate) + decay * want
            want = want - rate * velocity
            optimizer.step()
            optimizer.clear_grad()
        return model.weight.numpy(), want, float(np.mean(cut))

    @pytest.mark.parametrize("rates", [[0.01] * 5, [0.02, 0.02, 0.002, 0.002]])
    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_is_numpys(self, rates, decay):
        ours, want, cut = self.steps(rates, theta=0.02, decay=decay)
        assert 0.1 < cut < 0.9, "some entries are cut, others not"
        np.testing.assert_allclose(ours, want, rtol=0, atol=1e-5)

    def test_a_large_bound_cuts_nothing(self):
        ours, want, cut = self.steps([0.01] * 3, theta=100.0, decay=0.0)
        assert cut == 0
        np.testing.assert_allclose(ours, want, rtol=0, atol=1e-5)

    def test_needs_a_bound(self):
        with pytest.raises(ConfigError, match=r"Optimizer\.theta"):
            optim.make(paddle.nn.Linear(2, 2), ppsr.ClippedByRate, weight_decay=0.0, no_weight_decay=[], theta=0.0)
