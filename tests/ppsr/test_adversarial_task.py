"""SRGAN's training: whose turn it is, what each network is taught by, and what the batch norms see."""

import numpy as np
import paddle
import pytest
from sr_reference import image, random_vgg19, randomized

import ppsr
from ppcore import optim
from ppcore.errors import ConfigError
from ppsr.sr_losses import adversarial

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm
RATES = {"generator": 1e-3, "discriminator": 2e-3}


class Run:
    """What the task asks of a run."""

    def __init__(self, model, criterion=None):
        self.model, self.loss = model, criterion or ppsr.SquaredError()

    def criterion(self):
        return self.loss

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


def step(task, data) -> list[str]:
    """A step as the loop does it; whose turns it had."""
    optimizers, turns = task.optimizers(), []
    for name, loss, logs in task.losses(data, 0):
        loss.backward()
        optimizers[name].step()
        optimizers[name].clear_grad()
        assert sorted(logs) == {"generator": ["adversarial", "content"], "discriminator": ["made", "real"]}[name]
        turns.append(name)
    return turns


@pytest.mark.parametrize("first", ["generator", "discriminator"])
def test_a_step_is_two_updates_written_out(first):
    """Against the step by hand: gradients of each network's own loss, the images made before any update."""
    weight, data = 0.5, batch()
    task = ppsr.SRGAN(run=Run(networks()[0]), discriminator=networks()[1], weight=weight, first=first)
    order = ["generator", "discriminator"] if first == "generator" else ["discriminator", "generator"]
    assert step(task, data) == order

    model, critic = networks()
    made = model(data["image"])
    for name in order:
        if name == "generator":
            trained = model.parameters()
            loss = paddle.square(made - data["target"]).mean() + weight * adversarial(critic(made), True)
        else:
            trained = [p for p in critic.parameters() if not p.stop_gradient]
            loss = adversarial(critic(data["target"]), True) + adversarial(critic(made.detach()), False)
        slopes = paddle.grad(loss, trained, allow_unused=name == "generator")
        for p, slope in zip(trained, slopes, strict=True):
            if slope is not None:
                p.set_value(p - RATES[name] * slope)
    for ours, want in ((task.model, model), (task.discriminator, critic)):
        for name, array in values(want).items():
            np.testing.assert_allclose(values(ours)[name], array, rtol=0, atol=2e-6, err_msg=name)


def test_the_order_matters_to_the_generator_alone():
    """The images are made before any update, so the discriminator learns the same; the generator is then told by another."""
    tasks = [
        ppsr.SRGAN(run=Run(networks()[0]), discriminator=networks()[1], weight=10.0, first=first)
        for first in ("generator", "discriminator")
    ]
    for task in tasks:
        step(task, batch())
    for name, p in tasks[0].discriminator.named_parameters():
        if not p.stop_gradient:
            np.testing.assert_allclose(dict(tasks[1].discriminator.named_parameters())[name], p, rtol=0, atol=1e-6)
    gaps = [
        np.abs(one - other).max() for one, other in zip(*(values(task.model).values() for task in tasks), strict=True)
    ]
    assert max(gaps) > 1e-4


@pytest.mark.parametrize("first", ["generator", "discriminator"])
def test_each_batch_norm_sees_its_batches_in_training_mode(first):
    """Running statistics as by hand: the generator's of one batch, the discriminator's of three, one after the other."""
    model, critic = networks()
    seen = {"generator": [], "discriminator": []}
    for name, norm in (("generator", model.residual[0].norm1), ("discriminator", critic.features[3])):
        norm.register_forward_post_hook(
            lambda layer, inputs, outputs, name=name: seen[name].append((layer.training, inputs[0].numpy()))
        )
    before = critic.features[3]._mean.numpy()
    task, data = ppsr.SRGAN(run=Run(model), discriminator=critic, first=first), batch()
    made, real = (critic.features[:3](x).detach() for x in (model(data["image"]).detach(), data["target"]))
    seen["generator"].clear()
    for _ in task.losses(data, 0):
        pass
    assert {name: [training for training, _ in passes] for name, passes in seen.items()} == {
        "generator": [True], "discriminator": [True] * 3,
    }  # fmt: skip
    batches = [made, real, made] if first == "generator" else [real, made, made]
    want = before
    for (_, got), features in zip(seen["discriminator"], batches, strict=True):
        np.testing.assert_allclose(got, features.numpy(), atol=1e-5)
        want = 0.9 * want + 0.1 * got.mean(axis=(0, 2, 3))
    np.testing.assert_allclose(critic.features[3]._mean.numpy(), want, atol=1e-6)


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


@pytest.fixture(scope="module")
def vgg(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    random_vgg19(path)
    return str(path)


class TestContentLoss:
    """With VGG19 of random weights, up to conv2_2."""

    def slope(self, criterion) -> np.ndarray:
        """The gradient of the generator's last convolution in a step."""
        model, critic = networks()
        _, loss, _ = next(ppsr.SRGAN(run=Run(model, criterion), discriminator=critic).losses(batch(), 0))
        loss.backward()
        return model.exit.weight.grad.numpy()

    def test_a_value_in_a_new_tensor_trains_as_no_content_loss(self, vgg):
        """Lornatang's trap: the value is logged, and what the generator learns is `ppsr.SquaredError`'s."""
        whole = ppsr.ContentLoss(vgg_weights=vgg, tap="conv2_2", scale=1.0, pixel=1.0)
        content = ppsr.ContentLoss(vgg_weights=vgg, tap="conv2_2", scale=1.0)

        def cut(outputs, data):
            return ppsr.SquaredError()(outputs, data) + paddle.to_tensor([float(content(outputs, data))])[0]

        made, data = paddle.to_tensor(image(2, 3, 16, 16, seed=2)), batch()
        assert float(cut(made, data)) == pytest.approx(float(whole(made, data)), rel=1e-5), "the same number …"
        pixels = self.slope(ppsr.SquaredError())
        np.testing.assert_array_equal(self.slope(cut), pixels)
        assert np.abs(self.slope(whole) - pixels).max() > 0.1 * np.abs(pixels).max(), "… and another gradient"

    def test_vgg_is_no_network_of_the_task(self, vgg):
        criterion = ppsr.ContentLoss(vgg_weights=vgg, tap="conv2_2")
        task = ppsr.SRGAN(run=Run(networks()[0], criterion), discriminator=networks()[1])
        theirs = {id(p) for p in criterion.vgg.parameters()}
        assert theirs
        assert not theirs & {id(p) for p in task.networks.state_dict().values()}
        before = [p.numpy() for p in criterion.vgg.parameters()]
        step(task, batch())
        for p, array in zip(criterion.vgg.parameters(), before, strict=True):
            np.testing.assert_array_equal(p, array)


def test_what_does_not_fit_is_named():
    model, critic = networks()
    with pytest.raises(
        ConfigError, match=r"the generator makes \[2, 3, 16, 16\] of crops whose targets are \[2, 3, 8, 8\]"
    ):
        next(ppsr.SRGAN(run=Run(model), discriminator=critic).losses(batch() | {"target": batch()["image"]}, 0))
    with pytest.raises(ConfigError, match="SRGAN: weight is -1"):
        ppsr.SRGAN(run=Run(model), discriminator=critic, weight=-1.0)
    with pytest.raises(ConfigError, match="SRGAN: first is 'both'"):
        ppsr.SRGAN(run=Run(model), discriminator=critic, first="both")
