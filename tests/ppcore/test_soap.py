"""SOAP against the algorithm in numpy, against Adam where no axis is preconditioned, and through a checkpoint."""

import numpy as np
import paddle
import pytest

from ppcore import optim
from ppcore.errors import ConfigError

RATE, EVERY, MEMORY, BETA1, BETA2, EPSILON = 0.02, 2, 0.9, 0.8, 0.7, 1e-8


class Net(paddle.nn.Layer):
    """Two square matrices: of a covariance without full rank, the bases are arbitrary."""

    def __init__(self):
        super().__init__()
        paddle.seed(3)
        self.conv, self.line = paddle.nn.Conv2D(1, 4, 2), paddle.nn.Linear(4, 4)


def soap(net, **options):
    given = dict(beta1=BETA1, beta2=BETA2, epsilon=EPSILON, memory=MEMORY, every=EVERY) | options
    made = optim.make(net, optim.Soap, weight_decay=given.pop("decay", 0.0), no_weight_decay=["1d"], **given)
    made.set_lr(RATE)
    return made


def gradients(net, seed):
    """Puts random gradients into the parameters, and returns them."""
    rng = np.random.default_rng(seed)
    given = {name: rng.normal(size=p.shape).astype(np.float32) for name, p in net.named_parameters()}
    net.clear_gradients()
    paddle.add_n([(p * paddle.to_tensor(given[name])).sum() for name, p in net.named_parameters()]).backward()
    return {name: g.astype(np.float64) for name, g in given.items()}


class Reference:
    """Algorithm 3 of the paper for one matrix, in float64; a vector has no bases."""

    def __init__(self, weight):
        self.w = weight.astype(np.float64)
        self.m = self.v = np.zeros(self.shape())
        self.t, self.l, self.r = 0, 0.0, 0.0

    def shape(self):
        return (1, self.w.size) if self.w.ndim == 1 else (self.w.shape[0], self.w.size // self.w.shape[0])

    def update(self, g, decay):
        g = g.reshape(self.shape())
        matrix = self.w.ndim > 1
        if self.t == 0:
            self.l, self.r = (1 - MEMORY) * g @ g.T, (1 - MEMORY) * g.T @ g
            self.q, self.p = (np.linalg.eigh(x)[1][:, ::-1] if matrix else np.eye(len(x)) for x in (self.l, self.r))
            self.t = 1
            return
        turned = self.q.T @ g @ self.p
        self.m, self.v = BETA1 * self.m + (1 - BETA1) * g, BETA2 * self.v + (1 - BETA2) * turned**2
        first = self.q.T @ self.m @ self.p / (1 - BETA1**self.t)
        step = self.q @ (first / (np.sqrt(self.v / (1 - BETA2**self.t)) + EPSILON)) @ self.p.T
        self.w = (1 - RATE * decay * matrix) * self.w - RATE * step.reshape(self.w.shape)
        self.l, self.r = MEMORY * self.l + (1 - MEMORY) * g @ g.T, MEMORY * self.r + (1 - MEMORY) * g.T @ g
        if matrix and self.t % EVERY == 0:
            self.q, self.p = (np.linalg.qr(x @ basis)[0] for x, basis in ((self.l, self.q), (self.r, self.p)))
        self.t += 1


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_is_the_papers_algorithm(decay):
    net = Net()
    made, references = soap(net, decay=decay), {n: Reference(p.numpy()) for n, p in net.named_parameters()}
    for step in range(7):
        found = gradients(net, step)
        made.step()
        for name, reference in references.items():
            reference.update(found[name], decay)
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.numpy(), references[name].w, rtol=2e-3, atol=2e-4, err_msg=name)


def test_is_adam_where_no_axis_is_preconditioned():
    """One update later, as the first makes the bases."""
    nets = Net(), Net()
    ours = soap(nets[0], largest=1)
    adam = optim.make(
        nets[1], optim.Adam, weight_decay=0.0, no_weight_decay=[], beta1=BETA1, beta2=BETA2, epsilon=EPSILON
    )
    adam.set_lr(RATE)
    gradients(nets[0], 9)
    ours.step()
    for step in range(5):
        for net, each in zip(nets, (ours, adam), strict=True):
            gradients(net, step)
            each.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_goes_on_bit_for_bit_from_its_state():
    straight, stopped = Net(), Net()
    one, other = soap(straight), soap(stopped)
    for step in range(3):
        for net, each in ((straight, one), (stopped, other)):
            gradients(net, step)
            each.step()
    resumed = Net()
    resumed.set_state_dict(stopped.state_dict())
    renamed = dict(zip((p.name for p in stopped.parameters()), (p.name for p in resumed.parameters()), strict=True))
    state = {}
    for key, value in other.state_dict().items():
        owner = max((name for name in renamed if key.startswith(f"{name}_")), key=len)
        tensor = paddle.to_tensor(value.numpy())
        tensor.name = renamed[owner] + key[len(owner) :]
        state[tensor.name] = tensor
    again = soap(resumed)
    gradients(resumed, 99)  # an update of its own, which its state takes back
    again.step()
    resumed.set_state_dict(stopped.state_dict())
    again.set_state_dict(state)
    for step in range(3, 6):
        for net, each in ((straight, one), (resumed, again)):
            gradients(net, step)
            each.step()
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("options", [{"memory": 1.0}, {"every": 0}, {"beta2": -0.1}, {"largest": 0}])
def test_says_what_it_does_not_take(options):
    with pytest.raises(ConfigError, match=f"Optimizer.{next(iter(options))} is"):
        soap(Net(), **options)
