"""The teacher: frozen, its own normalisation, the run's precision, cached answers."""

import numpy as np
import paddle
import pytest

import ppcore.weights
import ppdeit
from ppcore.config import components
from ppcore.errors import ConfigError, WeightsError
from ppdeit.teacher import LogitsCache

SIZES = dict(widths=[8, 16], depths=[1, 1], group_width=8, stem_width=8, stem_stride=1, num_classes=5)


@pytest.fixture
def trained(tmp_path):
    """A small convnet with moved statistics, and its weight file."""
    paddle.seed(0)
    network = ppdeit.RegNet(**SIZES)
    network.train()
    for _ in range(3):
        network(paddle.randn([4, 3, 8, 8]))
    ppcore.weights.save(network, tmp_path / "teacher.safetensors")
    network.eval()
    return network, tmp_path / "teacher.safetensors"


def teacher(path, **options) -> ppdeit.Teacher:
    return ppdeit.Teacher(arch=ppdeit.RegNet(**SIZES), weights=str(path), **options)


def images(count=4):
    return paddle.to_tensor(np.random.default_rng(2).standard_normal((count, 3, 8, 8)).astype(np.float32))


def test_it_answers_as_the_trained_network_and_stays_as_it_is(trained):
    network, path = trained
    asked = teacher(path)
    before = {k: v.numpy().copy() for k, v in asked.network.state_dict().items()}
    x = images()
    x.stop_gradient = False
    got = asked(x)
    np.testing.assert_array_equal(got.numpy(), network(images()).numpy())
    assert got.stop_gradient
    assert all(p.stop_gradient for p in asked.network.parameters())
    assert not asked.network.training
    for name, value in asked.network.state_dict().items():  # BatchNorm's statistics too
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


def test_its_own_normalisation(trained):
    """The teacher must see what it would have made of the same pixels."""
    network, path = trained
    pixels = np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32)

    def normalised(mean, std):
        mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (mean, std))
        return paddle.to_tensor((pixels - mean) / std)

    own = ([0.2, 0.3, 0.4], [0.5, 0.6, 0.7])
    students = ([0.5, 0.5, 0.5], [0.25, 0.3, 0.35])
    asked = teacher(path, mean=own[0], std=own[1])
    asked.bind(lambda net, x: net(x), *students)
    np.testing.assert_allclose(
        asked(normalised(*students)).numpy(), network(normalised(*own)).numpy(), rtol=1e-4, atol=1e-5
    )
    same = teacher(path, mean=own[0], std=own[1])
    same.bind(lambda net, x: net(x), [np.float32(v) for v in own[0]], [np.float32(v) for v in own[1]])
    assert same.rescale is None


def test_it_runs_as_the_run_computes(trained):
    _, path = trained
    seen = []

    def forward(network, x):
        seen.append(network)
        return network(x) * 0 + 7

    asked = teacher(path)
    asked.bind(forward, [0.5] * 3, [0.5] * 3)
    assert (asked(images()).numpy() == 7).all()
    assert seen == [asked.network]


@pytest.mark.parametrize("options", [dict(mean=[0.5] * 3), dict(std=[0.5] * 3)])
def test_half_a_normalisation(trained, options):
    with pytest.raises(ConfigError, match="both mean and std"):
        teacher(trained[1], **options)


def test_a_normalisation_for_other_channels(trained):
    asked = teacher(trained[1], mean=[0.5], std=[0.5])
    with pytest.raises(ConfigError, match="1 channels, the images have 3"):
        asked.bind(lambda net, x: net(x), [0.5] * 3, [0.5] * 3)


def test_weights_of_another_network(tmp_path):
    ppcore.weights.save(ppdeit.RegNet(**(SIZES | {"num_classes": 4})), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="misshapen"):
        teacher(tmp_path / "w.safetensors")


class TestCache:
    def test_known_images_are_not_asked_again(self, trained, tmp_path):
        _, path = trained
        first = teacher(path, cache=str(tmp_path / "logits.db"))
        want = first(images()).numpy()
        again = teacher(path, cache=str(tmp_path / "logits.db"))
        again.bind(lambda net, x: pytest.fail("the teacher was asked"), [0.5] * 3, [0.5] * 3)
        np.testing.assert_array_equal(again(images()).numpy(), want)

    def test_another_augmentation_is_another_image(self, trained, tmp_path):
        asked = teacher(trained[1], cache=str(tmp_path / "logits.db"))
        x = images()
        asked(x)
        shifted = x.numpy().copy()
        shifted[2, 0, 0, 0] = np.nextafter(shifted[2, 0, 0, 0], np.float32(9))
        calls = []
        asked.bind(lambda net, x: calls.append(1) or net(x), [0.5] * 3, [0.5] * 3)
        asked(paddle.to_tensor(shifted))
        assert calls == [1]
        asked(x)
        assert calls == [1]

    def test_another_teacher_has_its_own_answers(self, trained, tmp_path):
        first = teacher(trained[1], cache=str(tmp_path / "logits.db"))(images()).numpy()
        paddle.seed(1)
        ppcore.weights.save(ppdeit.RegNet(**SIZES), tmp_path / "other.safetensors")
        second = teacher(tmp_path / "other.safetensors", cache=str(tmp_path / "logits.db"))(images()).numpy()
        assert not np.allclose(first, second)

    def test_a_file_that_is_no_cache(self, trained, tmp_path):
        (tmp_path / "logits.db").write_bytes(b"not a database, but long enough to look like a file" * 40)
        with pytest.raises(ConfigError, match="not a cache of logits"):
            teacher(trained[1], cache=str(tmp_path / "logits.db"))

    def test_two_writers(self, tmp_path):
        one, two = (LogitsCache(tmp_path / "logits.db", "t") for _ in range(2))
        keys = one.keys(images().numpy())
        logits = np.arange(20, dtype=np.float32).reshape(4, 5)
        one.put(keys, logits)
        two.put(keys, logits + 1)
        np.testing.assert_array_equal(two.get(keys), logits)


class TestPaddleClas:
    """Its builders declare nothing: their arguments are found out by building."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        reason = "paddleclas is not installed (its wheel pins old numpy; see README)"
        pytest.importorskip("paddleclas", reason=reason, exc_type=ImportError)

    # (Two of its RegNets cannot live in one process: they give their parameters fixed names.)
    @pytest.mark.parametrize("name", ["PPLCNet_x0_25", "ResNet18"])
    def test_a_backbone_by_name(self, name, tmp_path):
        arch = {"name": f"paddleclas.{name}", "class_num": 10}
        components.check(arch, "Loss.teacher.arch")
        network = components.build(arch)
        network.eval()
        ppcore.weights.save(network, tmp_path / "clas.pdparams")
        node = {"name": "ppdeit.Teacher", "arch": arch, "weights": str(tmp_path / "clas.pdparams")}
        components.check(node, "Loss.teacher")
        x = paddle.randn([2, 3, 64, 64])
        np.testing.assert_array_equal(components.build(node)(x).numpy(), network(x).numpy())

    def test_arguments_it_does_not_have(self):
        with pytest.raises(ConfigError, match="RegNetX_200MF"):
            components.build({"name": "paddleclas.RegNetX_200MF", "no_such_argument": 1})

    def test_a_misspelt_name(self):
        with pytest.raises(ConfigError, match="did you mean 'RegNetX_200MF'"):
            components.check({"name": "paddleclas.RegNetX_200M"}, "Loss.teacher.arch")
