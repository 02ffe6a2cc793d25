"""The wide residual network: counts by hand, shapes, its first unit, its padding; Lee's network."""

import numpy as np
import paddle
import pytest

from ppcore.errors import ConfigError
from ppcore.model import parameter_count
from ppssl import OneHiddenLayer, WideResNet, wide_resnet28_2, wide_resnet28_8, wide_resnet37_2
from ppssl.wide_resnet import PreActivationUnit

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


def by_hand(width: int, classes: int, groups: int = 3, units: int = 4, stem: int = 16) -> int:
    """Kernels, two values a channel of each norm, the classifier."""
    count, before = 27 * stem, stem
    for own in (width << group for group in range(groups)):
        first = 2 * before + 9 * before * own + 2 * own + 9 * own * own + before * own
        count += first + (units - 1) * 2 * (2 * own + 9 * own * own)
        before = own
    return count + 2 * before + before * classes + classes


@pytest.mark.parametrize(
    ("builder", "params", "arguments"),
    [
        (wide_resnet28_2, 1_467_610, (32, 10)),
        (wide_resnet28_8, 23_401_012, (128, 100)),
        (wide_resnet37_2, 5_929_434, (32, 10, 4)),
    ],
)
def test_counts(builder, params, arguments):
    with paddle.LazyGuard():
        assert parameter_count(builder()) == params == by_hand(*arguments)


def test_stages():
    net = WideResNet(width=8, units=1, stem=4, num_classes=5)
    net.eval()
    x = paddle.randn([2, 3, 12, 8])
    stages = net.forward_intermediates(x)
    assert {name: one.shape[1:] for name, one in stages.items()} == {
        "stem": [12, 8, 4], "group_0": [12, 8, 8], "group_1": [6, 4, 16], "group_2": [3, 2, 32],
        "norm": [3, 2, 32], "pre_logits": [32], "logits": [5],
    }  # fmt: skip
    np.testing.assert_array_equal(net(x).numpy(), stages["logits"].numpy())
    np.testing.assert_array_equal(net.forward_features(x).numpy(), stages["norm"].numpy())
    pooled = net.forward_head(stages["norm"], pre_logits=True)
    np.testing.assert_array_equal(pooled.numpy(), stages["pre_logits"].numpy())
    assert WideResNet(width=8, units=1, num_classes=0)(x).shape == [2, 32]


def test_a_unit_whose_convolutions_are_zero_is_its_shortcut():
    """After the activation in the network's first unit, before it in the others."""
    x = paddle.to_tensor(np.float32([[-1, 2], [3, -4]]).reshape(1, 1, 2, 2))
    for first in (True, False):
        unit = PreActivationUnit(1, 1, activated_shortcut=first)
        unit.eval()
        unit.conv2.weight.set_value(paddle.zeros([1, 1, 3, 3]))
        scaled = x / np.sqrt(1 + 1e-3)
        wanted = paddle.where(scaled > 0, scaled, 0.1 * scaled) if first else x
        np.testing.assert_allclose(unit(x).numpy(), wanted.numpy(), rtol=1e-6)


def test_a_stride_of_two_pads_below_and_to_the_right_alone():
    """As TensorFlow does with an even side: the first window begins at the first pixel."""
    unit = PreActivationUnit(1, 2, stride=2)
    unit.eval()
    kernel = np.zeros((2, 1, 3, 3), np.float32)
    kernel[:, :, 0, 0] = 1
    unit.conv1.weight.set_value(kernel)
    x = paddle.arange(16, dtype="float32").reshape([1, 1, 4, 4])
    np.testing.assert_array_equal(unit.conv1(x).numpy()[0, 0], [[0, 2], [8, 10]])


def test_statistics_move_by_a_thousandth():
    net = WideResNet(width=4, units=1, groups=1, stem=4, num_classes=2)
    net.train()
    x = paddle.randn([8, 3, 6, 6])
    mean = net.stem(x).mean([0, 2, 3])
    net(x)
    np.testing.assert_allclose(net.groups[0][0].norm1._mean.numpy(), 1e-3 * mean.numpy(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"units": 1.5}, {"num_classes": -1}])
def test_refused(wrong):
    with pytest.raises(ConfigError, match=f"WideResNet: {next(iter(wrong))}"):
        WideResNet(**wrong)


def test_lees_network():
    net = OneHiddenLayer(hidden=20)
    assert parameter_count(net) == 784 * 20 + 20 + 20 * 10 + 10
    assert net(paddle.randn([3, 1, 28, 28])).shape == [3, 10]
    dropping = OneHiddenLayer(hidden=20, drop_in=0.5, drop_rate=0.5)
    x = paddle.randn([3, 1, 28, 28])
    assert not np.allclose(dropping(x).numpy(), dropping(x).numpy())
    dropping.eval()
    np.testing.assert_array_equal(dropping(x).numpy(), dropping(x).numpy())
    with pytest.raises(ConfigError, match="OneHiddenLayer: drop_rate"):
        OneHiddenLayer(drop_rate=1.0)
