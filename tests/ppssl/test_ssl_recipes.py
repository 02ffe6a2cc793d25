"""The recipes of DINO, SimCLR and FixMatch as data: rates of every step, what decays, augmentations, encoders and their counts."""

import numpy as np
import paddle
import pytest
from conftest import ROOT

import ppcore.weights
from ppcore import config, optim
from ppcore.config import components
from ppcore.config.durations import Plan
from ppcore.engine import build
from ppcore.errors import ConfigError
from ppcore.model import parameter_count
from ppssl import SimCLRBlur, SimCLRResNet, cifar_resnet18

IMAGENET, CIFAR = 1_281_167, 50_000


def load(base: str, *given: str) -> config.Config:
    return config.load([ROOT / "configs" / "_base_" / f"{base}.yaml"], ["Global.output_dir=output/none", *given])


def plan_of(loaded: config.Config, images: int) -> Plan:
    return build.plan(loaded, images, loaded.Global.length())


def at(node, plan: Plan, *epochs: float) -> list[float]:
    values = build.schedule(node, plan)
    return [values(round(epoch * plan.steps_per_epoch)) for epoch in epochs]


def test_dino():
    loaded = load("dino_pretrain")
    plan = plan_of(loaded, IMAGENET)
    assert at(loaded.Optimizer.lr, plan, 0, 10, 55) == pytest.approx([0, 2e-3, 1.0005e-3], rel=1e-3)
    assert at(loaded.Optimizer.weight_decay_schedule, plan, 0, 50) == pytest.approx([0.04, 0.22])
    assert at(loaded.Task["momentum"], plan, 0, 50) == pytest.approx([0.996, 0.998])
    views = components.build(loaded.DataLoader.Train.transforms["views"]).views
    assert {name: count for name, (count, _) in views.items()} == {"global_1": 1, "global_2": 1, "local": 8}
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    sample = {"image": image, "label": 3, "path": None}
    made = components.build(loaded.DataLoader.Train.transforms["views"])(sample, np.random.default_rng(0))
    assert made["global_1"].shape == made["global_2"].shape == (1, 3, 224, 224)
    assert made["local"].shape == (8, 3, 96, 96)
    with paddle.LazyGuard():
        model = components.build(loaded.Arch)
    decayed = optim.decayed_names(model, loaded.Optimizer.no_weight_decay)
    assert {"pos_embed", "cls_token"} < decayed
    assert not any(name.endswith(".bias") or "norm" in name for name in decayed)


def test_simclr():
    loaded = load("simclr_pretrain")
    assert at(loaded.Optimizer.lr, plan_of(loaded, IMAGENET), 0, 5, 10) == pytest.approx([0, 2.4, 4.8])
    sqrt = load("simclr_pretrain", "Optimizer.lr.base_lr=0.075", "Optimizer.lr.scaling=sqrt")
    assert at(sqrt.Optimizer.lr, plan_of(sqrt, IMAGENET), 10) == pytest.approx([4.8])
    with paddle.LazyGuard():
        assert parameter_count(components.build(loaded.Arch)) == 23_508_032
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    made = components.build(loaded.DataLoader.Train.transforms["views"])({"image": image}, np.random.default_rng(0))
    assert made["view"].shape == (2, 3, 224, 224)
    assert 0 <= made["view"].min() < made["view"].max() <= 1


def test_simclr_of_cifar():
    loaded = load("simclr_cifar10")
    assert at(loaded.Optimizer.lr, plan_of(loaded, CIFAR), 10) == pytest.approx([2.0], rel=1e-3)
    assert loaded.DataLoader.Train.dataset == {
        "name": "ppcore.data.PaddleVision",
        "dataset": "Cifar10",
        "split": "train",
    }
    made = components.build(loaded.DataLoader.Train.transforms["views"])
    assert len(made.views["view"][1]) == 5, "without blur"
    views = made({"image": np.zeros((32, 32, 3), np.uint8)}, np.random.default_rng(0))
    assert views["view"].shape == (2, 3, 32, 32)
    jitter = loaded.DataLoader.Train.transforms["views"]["views"]["view"]["transforms"]["jitter"]["transform"]
    assert [jitter[name] for name in ("brightness", "contrast", "saturation", "hue")] == [0.4, 0.4, 0.4, 0.1]


def test_the_encoder_of_cifar():
    paddle.seed(0)
    net = cifar_resnet18()
    net.eval()
    assert parameter_count(net) == 11_689_512 - 513_000 - 3 * 64 * (49 - 9)
    assert net(paddle.zeros([2, 3, 32, 32])).shape == [2, 512]
    assert net.layer1(net.conv1(paddle.zeros([1, 3, 32, 32]))).shape == [1, 64, 32, 32]


def test_a_classifier_on_the_encoder_begins_at_zero_and_has_a_name_that_weights_know():
    paddle.seed(0)
    encoder, whole = cifar_resnet18(), cifar_resnet18(num_classes=3)
    whole.eval()
    assert float(whole(paddle.randn([2, 3, 8, 8])).abs().max()) == 0
    state = ppcore.weights.convert(
        {name: tensor.numpy() for name, tensor in encoder.state_dict().items()},
        source="paddle",
        model=whole,
        new_head=True,
    )
    assert set(state) == set(whole.state_dict())
    np.testing.assert_array_equal(state["conv1.weight"], encoder.conv1.weight.numpy())
    with pytest.raises(ConfigError, match="depth is 34"):
        SimCLRResNet(depth=34)


def test_fixmatch():
    loaded = load(
        "fixmatch_cifar10", "Arch={name: ppvit.VisionTransformer, img_size: 32, patch_size: 4, num_classes: 10}"
    )
    plan = plan_of(loaded, CIFAR)
    assert plan.total_steps == 2**20
    values = components.build(loaded.Optimizer.lr).bind(plan)  # not looked at step by step
    assert [values(0), values(2**20)] == pytest.approx([0.03, 0.03 * np.cos(7 * np.pi / 16)])
    train, beside = loaded.DataLoader.Train, loaded.DataLoader.Beside["labelled"]
    assert train.batch_size == 7 * beside.batch_size
    assert beside.dataset["times"] * beside.dataset["dataset"]["per_class"] * 10 >= beside.batch_size
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    made = components.build(train.transforms["views"])({"image": image}, np.random.default_rng(0))
    assert made["weak"].shape == made["strong"].shape == (1, 3, 32, 32)
    assert loaded.EMA.decay == 0.999


class TestBlur:
    IMAGE = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)

    def test_written_out(self):
        """A kernel of 5 for 40 rows; what is outside is black."""

        class Fixed:
            def uniform(self, low, high):
                return 0.8

        weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 0.64))
        weights /= weights.sum()
        padded = np.pad(self.IMAGE.astype(float), [(2, 2), (2, 2), (0, 0)])
        rows = sum(weights[i] * padded[i : i + 40] for i in range(5))
        want = sum(weights[i] * rows[:, i : i + 30] for i in range(5))
        assert np.abs(SimCLRBlur()(self.IMAGE, Fixed()) - want).max() < 0.51

    def test_small_images_stay(self):
        """The kernel of 8 rows is a point."""
        image = self.IMAGE[:8]
        np.testing.assert_array_equal(SimCLRBlur()(image, np.random.default_rng(0)), image)
