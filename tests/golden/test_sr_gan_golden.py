"""SRGAN against numbers of a known code: the discriminator, the content loss and its gradient, alternating steps."""

import filling
import numpy as np
import paddle
import pytest
from sr_filling import filled, gradients, named, norms, running, sample, stored

import ppsr
from ppcore import optim
from ppcore.metrics.vgg import VGG19
from ppcore.weights import save_arrays
from ppsr.sr_losses import adversarial

TOLERANCE, STEPS = 3e-5, 2e-3
SIZE = 96
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


def drawn(path, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Inputs that the file describes and does not store."""
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    return [rng.random(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("path", filling.files("sr_gan"))
def test_discriminator(path):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"]["disc8"]
    shape = (manifest["batch"], 3, SIZE, SIZE)
    real, fake = (paddle.to_tensor(x) for x in drawn(path, shape, shape))
    model = filled(ppsr.discriminator(width=8), facts["weights"], "lornatang")
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == facts["params"]
    gaps.add("eval", filling.gap(model(real).numpy(), arrays["disc8_eval/logit_real"]), TOLERANCE)
    model.train()
    logits = {"real": model(real), "fake": model(fake)}
    for name, logit in logits.items():
        gaps.add(name, filling.gap(logit.numpy(), arrays[f"disc8/logit_{name}"]), TOLERANCE)
    losses = [adversarial(logits[name], kind) for name, kind in (("real", True), ("fake", False), ("fake", True))]
    gaps.add("losses", filling.relative([float(loss) for loss in losses], arrays["disc8/losses"]), TOLERANCE)
    (losses[0] + losses[1]).backward()
    found = gradients(model, "lornatang", facts["weights"])
    gaps.add("norms", filling.relative(norms(found), arrays["disc8/grad_norms"]), TOLERANCE)
    assert set(stored(arrays, "disc8/grad_sample/")) == set(found)
    for key, gradient in found.items():
        gap = filling.gap(sample(gradient, 8), arrays[f"disc8/grad_sample/{key}"])
        gaps.add(f"gradient of {key}", gap, TOLERANCE)

    def count(norm: str) -> int:
        place = (int(norm.removeprefix("features.")) - 3) // 3 + 1  # of the convolution
        return manifest["batch"] * (SIZE >> (place + 1) // 2) ** 2

    for key, array in running(model, "lornatang", facts["weights"], stored(arrays, "disc8/running/"), count, 2):
        gaps.add(key, filling.gap(array, arrays[f"disc8/running/{key}"]), TOLERANCE)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("sr_gan"))
@pytest.mark.parametrize(("case", "tap"), [("content_vgg54", "conv5_4"), ("content_vgg22", "conv2_2")])
def test_content_loss(path, tmp_path, case, tap):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"][case]
    shape = arrays[f"{case}/grad_sr"].shape
    sr, hr = (paddle.to_tensor(x) for x in drawn(path, shape, shape))
    listed = filling.weights(facts)
    # A file as torchvision's, whose convolutions beyond the case are 0.
    whole = {n: np.zeros(p.shape, np.float32) for n, p in VGG19(taps=["conv5_4"]).named_parameters()}
    save_arrays(tmp_path / "vgg19.safetensors", {**whole, **listed}, {"format": "pt"})
    loss = ppsr.ContentLoss(vgg_weights=str(tmp_path / "vgg19.safetensors"), tap=tap, scale=1.0)
    sr.stop_gradient = False
    found = loss(sr, {"target": hr})
    gaps.add("loss", filling.relative(float(found), arrays[f"{case}/loss"][0]), TOLERANCE)
    found.backward()
    gaps.add("gradient", filling.gap(sr.grad.numpy(), arrays[f"{case}/grad_sr"]), TOLERANCE)
    gap = filling.gap(sample(loss.features(sr.detach()).numpy()), arrays[f"{case}/feature_sample"])
    gaps.add("features", gap, TOLERANCE)
    paper = ppsr.ContentLoss(vgg_weights=str(tmp_path / "vgg19.safetensors"), tap=tap)
    ratio = float(paper(sr.detach(), {"target": hr})) / float(found)
    gaps.add("the paper's scale", abs(ratio * 12.75**2 - 1), TOLERANCE)
    gaps.check()


class Run:
    """What the task asks of a run."""

    def __init__(self, model, criterion):
        self.model, self._criterion = model, criterion

    def criterion(self):
        return self._criterion

    def forward(self, network, *inputs):
        return network(*inputs)


@pytest.mark.parametrize("path", filling.files("sr_gan"))
def test_four_alternating_steps(path):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"]["gan_steps"]
    model = filled(ppsr.SRResNet(width=16, blocks=1, output="clamp"), facts["weights_g"], "lornatang")
    critic = filled(ppsr.discriminator(width=8), facts["weights_d"], "lornatang")
    model.train()
    critic.train()
    task = ppsr.SRGAN(run=Run(model, ppsr.SquaredError()), discriminator=critic)
    optimizers = {}
    for name, network in task.networks.items():
        optimizers[name] = optim.make(network, optim.Adam, weight_decay=0.0, no_weight_decay=[])
        optimizers[name].set_lr(1e-4)
    [target] = drawn(path, (manifest["batch"], 3, SIZE, SIZE))
    small = target.reshape(-1, 3, SIZE // 4, 4, SIZE // 4, 4).mean(axis=(3, 5), dtype=np.float32)
    batch = {"image": paddle.to_tensor(small), "target": paddle.to_tensor(target)}
    for step, wanted in enumerate(arrays["gan_steps/losses"]):
        found = {}
        for name, loss, logs in task.losses(batch, step):
            loss.backward()
            optimizers[name].step()
            optimizers[name].clear_grad()
            found[name] = float(loss)
            if name == "generator":
                found |= {key: float(value) for key, value in logs.items()}
        ours = [found["content"], found["adversarial"], found["discriminator"]]
        gaps.add(f"step {step}", filling.relative(ours, [wanted[0], wanted[1], wanted[2] + wanted[3]]), STEPS)
    for letter, network in (("g", model), ("d", critic)):
        parameters = {name: p.numpy() for name, p in network.state_dict().items()}
        state = named(network, parameters, "lornatang", facts[f"weights_{letter}"])
        gaps.add(letter, filling.relative(norms(state), arrays[f"gan_steps/final_norms_{letter}"]), STEPS)
    gaps.check()
