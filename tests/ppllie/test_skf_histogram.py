"""The semantic histogram loss against its formula in float64 numpy, its gradient, label maps, and its use in YAML."""

import numpy as np
import paddle
import pytest

from ppcore.config import components
from ppcore.errors import ConfigError, DataError
from ppllie import SemanticHistogramLoss
from ppllie.skf_histogram import FORK_WEIGHTS, histogram_loss, soft_histograms

N, C, H, W, CLASSES = 2, 3, 9, 7, 4
NODE = {"name": "ppllie.SemanticHistogramLoss", "classes": 5, "normalization": "drbn"}


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def bins_of(image, labels, classes):
    """[N, classes, C, 256]: every pixel against every bin, by centre and width."""
    centres, width = (np.arange(256) + 0.5) / 256, 1 / 256
    x = image[..., None]
    soft = sigmoid(400 * (x - centres + width / 2)) - sigmoid(400 * (x - centres - width / 2))
    mine = labels[:, None] == np.arange(classes)[:, None, None]  # [N, classes, H, W]
    return np.einsum("nchwk,nlhw->nlck", soft, mine)


def loss_of(image, target, labels, classes, divisor):
    difference = bins_of(image, labels, classes) - bins_of(target, labels, classes)
    return np.abs(difference).mean(-1).sum() / divisor


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    image, target = rng.random((2, N, C, H, W))
    image[0, 0, 0, :3] = [0.0, 1.0, -0.3]  # the ends, and outside
    image[1, 2, 4, 4] = 1.7
    return image, target, rng.integers(0, CLASSES - 1, (N, H, W))  # the last class is empty


def tensor(array, grad=False):
    return paddle.to_tensor(np.asarray(array, np.float32), stop_gradient=not grad)


@pytest.mark.parametrize("chunk", [1, 10, 8192])
def test_histograms(case, chunk):
    image, _, labels = case
    got = soft_histograms(tensor(image), paddle.to_tensor(labels), CLASSES, chunk=chunk).numpy()
    want = bins_of(image, labels, CLASSES)
    assert got.shape == (N, CLASSES, C, 256)
    np.testing.assert_allclose(got, want, atol=3e-5)
    assert not got[:, -1].any()
    assert want.max() > 1


@pytest.mark.parametrize(("normalization", "divisor"), [("drbn", N * CLASSES * H * W * 3), ("snr", N * H * W)])
def test_loss_and_gradient(case, normalization, divisor):
    image, target, labels = case
    leaf = tensor(image, grad=True)
    loss = histogram_loss(leaf, tensor(target), paddle.to_tensor(labels), CLASSES, normalization, chunk=11)
    assert float(loss) == pytest.approx(loss_of(image, target, labels, CLASSES, divisor), rel=1e-5)
    loss.backward()
    # The slope at each of several pixels; a step so small that no difference of two bins changes its sign.
    for place in [(0, 0, 3, 3), (1, 2, 8, 6), (0, 1, 0, 0), (1, 0, 5, 2)]:
        ahead, behind = image.copy(), image.copy()
        ahead[place] += 1e-7
        behind[place] -= 1e-7
        slope = (
            loss_of(ahead, target, labels, CLASSES, divisor) - loss_of(behind, target, labels, CLASSES, divisor)
        ) / 2e-7
        assert leaf.grad.numpy()[place] == pytest.approx(slope, rel=2e-3, abs=2e-5 / divisor)
    assert leaf.grad.numpy()[1, 2, 4, 4] == 0  # a pixel at 1.7 is in no bin


def test_colours_of_classes_count_not_of_places(case):
    image, _, _ = case
    image, labels = np.clip(image, 0, 1), np.zeros((N, H, W), np.int64)
    moved = image[:, :, ::-1, ::-1]
    assert float(histogram_loss(tensor(image), tensor(moved), paddle.to_tensor(labels), 1, "snr")) < 1e-7
    labels[:, : H // 2] = 1
    assert float(histogram_loss(tensor(image), tensor(moved), paddle.to_tensor(labels), 2, "snr")) > 1e-4


def test_gradients_bring_a_colour_to_its_reference():
    """A dark class and a bright one: each is driven to its own reference."""
    labels = np.zeros((1, 4, 8), np.uint8)
    labels[..., 4:] = 1
    target = np.where(labels[:, None] == 1, 0.82, 0.31).repeat(3, axis=1)
    image = tensor(target + np.random.default_rng(0).uniform(-0.02, 0.02, target.shape), grad=True)
    optimizer = paddle.optimizer.Adam(5e-4, parameters=[image])
    criterion = SemanticHistogramLoss(classes=2, normalization="snr")
    batch = {"target": tensor(target), "label_map": paddle.to_tensor(labels)}
    first = float(criterion(image, batch))
    for _ in range(60):
        criterion(image, batch).backward()
        optimizer.step()
        optimizer.clear_grad()
    assert float(criterion(image, batch)) < 0.1 * first
    np.testing.assert_allclose(image.numpy(), target, atol=2.5e-3)


def test_not_a_number_stays_one(case):
    image, target, labels = case
    image[0, 1, 2, 3] = np.nan
    assert np.isnan(float(histogram_loss(tensor(image), tensor(target), paddle.to_tensor(labels), CLASSES, "snr")))


def test_as_a_criterion(case):
    image, target, labels = case
    batch = {"target": tensor(target), "label_map": paddle.to_tensor(labels.astype(np.uint8))}
    components.check({**NODE, "weight": 100.0}, "Loss")
    plain, heavy = (components.build({**NODE, "weight": weight}) for weight in (1.0, 100.0))
    value = float(plain(tensor(image), batch))
    assert float(heavy(tensor(image), batch)) == pytest.approx(100 * value, rel=1e-6)
    assert float(plain((tensor(image), None), batch)) == value  # two outputs: the first is the image
    assert value == pytest.approx(loss_of(image, target, labels, 5, N * 5 * H * W * 3), rel=1e-5)
    assert FORK_WEIGHTS == {"drbn": 1.0, "snr": 10000.0, "llflow": 1000.0}


def test_beside_another_criterion(case):
    image, target, labels = case
    batch = {"target": tensor(target), "label_map": paddle.to_tensor(labels)}
    node = {
        "name": "ppcore.losses.Sum",
        "terms": {"colour": NODE, "again": {**NODE, "normalization": "snr"}},
        "weights": {"again": 0.25},
    }
    components.check(node, "Loss")
    value = float(components.build(NODE)(tensor(image), batch))
    assert float(components.build(node)(tensor(image), batch)) == pytest.approx(value * (1 + 0.25 * 15), rel=1e-5)


def test_what_is_refused(case):
    image, target, labels = case
    with pytest.raises(ConfigError, match=r"no 'label_map'.*ColourClasses"):
        components.build(NODE)(tensor(image), {"target": tensor(target)})
    with pytest.raises(DataError, match=r"holds 0\.\.2, but there are 2 classes"):
        histogram_loss(tensor(image), tensor(target), paddle.to_tensor(labels), 2, "snr")
    with pytest.raises(DataError, match="the label map is"):
        histogram_loss(tensor(image), tensor(target), paddle.to_tensor(labels[:, 1:]), 4, "snr")
    for wrong in ({"classes": 0}, {"normalization": "llflow"}, {"weight": 0.0}, {"chunk": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SemanticHistogramLoss(**{"classes": 3, "normalization": "snr", **wrong})
