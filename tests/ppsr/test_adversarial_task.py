"""SRGAN's training: whose turn it is, what each network is taught by, and what the batch norms see."""

import numpy as np
import paddle
import pytest
from sr_reference import image, randomized

import ppsr
from ppcore import optim
from ppcore.errors import ConfigError
from ppsr.sr_losses import adversarial

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
RATES = {"generator": 1e-3, "discriminator": 2e-3}


class Run:
    """What the task asks of a run."""

    def __init__(self, model):
        self.model = model

    def criterion(self):
        return ppsr.SquaredError()

    def forward(self, network, *inputs):
        return network(*inputs)

    def optimizer(self, network, name):
        made = optim.make(network, optim.SGD, weight_decay=0.0, no_weight_decay=[])
        made.set_lr(RATES[name])
        return made

    def evaluators(self):
        return []


def networks() -> tuple[ppsr.SRResNet, ppsr.Discriminator]:
    model = randomized(ppsr.SRResNet(scale=2, width=4, blocks=1))
    critic = randomized(ppsr.Discriminator(width=2, size=16, hidden=5), seed=1)
    model.train()
    critic.train()
    return model, critic


def batch() -> dict[str, paddle.Tensor]:
    return {"image": paddle.to_tensor(image(2, 3, 8, 8)), "target": paddle.to_tensor(image(2, 3, 16, 16, seed=1))}


def values(network) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def test_a_step_is_two_updates_written_out():
    """Against the step by hand: gradients of each network's own loss, the images made before the generator's update."""
    weight = 0.5
    task = ppsr.SRGAN(run=Run(networks()[0]), discriminator=networks()[1], weight=weight)
    optimizers, turns, data = task.optimizers(), [], batch()
    for name, loss, logs in task.losses(data, 0):
        loss.backward()
        optimizers[name].step()
        optimizers[name].clear_grad()
        turns.append((name, sorted(logs)))
    assert turns == [("generator", ["adversarial", "content"]), ("discriminator", ["made", "real"])]

    model, critic = networks()
    made = model(data["image"])
    loss = paddle.square(made - data["target"]).mean() + weight * adversarial(critic(made), True)
    slopes = paddle.grad(loss, model.parameters(), retain_graph=False, allow_unused=True)
    for p, slope in zip(model.parameters(), slopes, strict=True):
        if slope is not None:
            p.set_value(p - RATES["generator"] * slope)
    loss = adversarial(critic(data["target"]), True) + adversarial(critic(made.detach()), False)
    slopes = paddle.grad(loss, [p for p in critic.parameters() if not p.stop_gradient])
    for p, slope in zip([p for p in critic.parameters() if not p.stop_gradient], slopes, strict=True):
        p.set_value(p - RATES["discriminator"] * slope)
    for ours, want in ((task.model, model), (task.discriminator, critic)):
        for name, array in values(want).items():
            np.testing.assert_allclose(values(ours)[name], array, rtol=0, atol=2e-6, err_msg=name)


def test_the_generators_loss_teaches_the_discriminator_nothing_and_passes_through_it():
    model, critic = networks()
    found = {}
    for weight in (0.0, 10.0):
        task = ppsr.SRGAN(run=Run(model), discriminator=critic, weight=weight)
        _, loss, _ = next(task.losses(batch(), 0))
        loss.backward()
        assert all(p.grad is None for p in critic.parameters())
        assert any(not p.stop_gradient for p in critic.parameters()), "and afterwards it can learn"
        found[weight] = model.exit.weight.grad.numpy().copy()
        model.clear_gradients()
    assert np.abs(found[10.0] - found[0.0]).max() > 1e-4


def test_the_discriminators_loss_teaches_the_generator_nothing():
    model, critic = networks()
    steps = ppsr.SRGAN(run=Run(model), discriminator=critic).losses(batch(), 0)
    next(steps)
    model.clear_gradients()
    _, loss, _ = next(steps)
    loss.backward()
    assert all(p.grad is None or not p.grad.numpy().any() for p in model.parameters())
    assert all(p.grad is not None for p in critic.parameters() if not p.stop_gradient)


def test_batch_norms_of_the_discriminator_see_three_batches_a_step():
    model, critic = networks()
    norm, seen = critic.features[3], []
    norm.register_forward_post_hook(lambda layer, inputs, outputs: seen.append(layer.training))
    for _, _loss, _ in ppsr.SRGAN(run=Run(model), discriminator=critic).losses(batch(), 0):
        pass
    assert seen == [True] * 3


def test_what_does_not_fit_is_named():
    model, critic = networks()
    with pytest.raises(
        ConfigError, match=r"the generator makes \[2, 3, 16, 16\] of crops whose targets are \[2, 3, 8, 8\]"
    ):
        next(ppsr.SRGAN(run=Run(model), discriminator=critic).losses(batch() | {"target": batch()["image"]}, 0))
    with pytest.raises(ConfigError, match="SRGAN: weight is -1"):
        ppsr.SRGAN(run=Run(model), discriminator=critic, weight=-1.0)
