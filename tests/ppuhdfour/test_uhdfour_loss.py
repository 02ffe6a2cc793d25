"""UHDFour's loss: each term against its formula, both weightings, and what it refuses."""

import numpy as np
import paddle
import pytest

from ppcore.config import components
from ppcore.errors import ConfigError, WeightsError
from ppcore.metrics.psnr_ssim import ssim
from ppcore.metrics.ssim_loss import ssim_loss
from ppcore.metrics.vgg import VGG19
from ppcore.weights import save_arrays
from ppuhdfour.uhdfour_loss import UHDFourLoss, low_target

rng = np.random.default_rng(0)


def tensor(array, grad=False):
    return paddle.to_tensor(np.asarray(array, np.float32), stop_gradient=not grad)


def example(height=32, width=48, factor=8):
    """((y, y_low), target)"""
    shapes = [(2, 3, height, width), (2, 3, height // factor, width // factor), (2, 3, height, width)]
    y, y_low, target = (tensor(rng.random(shape), grad=i < 2) for i, shape in enumerate(shapes))
    return (y, y_low), target


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A file with torchvision's names, of small random weights, classifier and conv5 included."""
    paddle.seed(0)
    arrays = {name: p.numpy() for name, p in VGG19().named_parameters()}
    arrays |= {"features.28.weight": np.zeros((4, 4, 3, 3), "float32"), "classifier.6.bias": np.zeros(10, "float32")}
    path = tmp_path_factory.mktemp("weights") / "vgg19.safetensors"
    save_arrays(path, arrays, {"format": "pt"})
    return path


@pytest.mark.parametrize("size", [(32, 48), (11, 11), (5, 70), (65, 31)])
def test_ssim_loss_is_the_metric(size):
    x, y = rng.random((2, 2, 3, *size))
    want = np.mean(
        [ssim(a.transpose(1, 2, 0), b.transpose(1, 2, 0), border="zeros") for a, b in zip(x, y, strict=True)]
    )
    assert float(ssim_loss(tensor(x), tensor(y))) == pytest.approx(1 - want, abs=1e-5)
    assert float(ssim_loss(tensor(x), tensor(x))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (11, 11), (65, 31)])
def test_ssim_loss_of_the_windows_inside(size):
    x, y = rng.random((2, 2, 3, *size))
    want = np.mean([ssim(a.transpose(1, 2, 0), b.transpose(1, 2, 0)) for a, b in zip(x, y, strict=True)])
    assert float(ssim_loss(tensor(x), tensor(y), border="crop")) == pytest.approx(1 - want, abs=1e-5)
    with pytest.raises(ConfigError, match="11x11"):
        ssim_loss(tensor(x[..., :10]), tensor(y[..., :10]), border="crop")


def test_ssim_loss_gradient():
    x, y = 0.2 + 0.6 * rng.random((2, 1, 3, 16, 20))
    leaf = tensor(x, grad=True)
    ssim_loss(leaf, tensor(y)).backward()
    direction = rng.standard_normal(x.shape)

    def exact(at):
        return 1 - ssim(at[0].transpose(1, 2, 0), y[0].transpose(1, 2, 0), border="zeros")

    slope = (exact(x + 1e-5 * direction) - exact(x - 1e-5 * direction)) / 2e-5
    assert (leaf.grad.numpy() * direction).sum() == pytest.approx(slope, rel=1e-3)


def photographs(kind):
    """(pred, target) [1, 3, 100, 120], with flat parts, as pictures have them."""
    generator = np.random.default_rng(7)
    target = np.full((1, 3, 100, 120), 0.9)
    if kind == "two halves":
        target[..., 60:] = 0.05
    if kind == "gradient":
        target *= np.linspace(0.2, 1.1, 120)
    return target + 0.005 * generator.standard_normal(target.shape), target


@pytest.mark.parametrize("kind", ["flat", "two halves", "gradient"])
def test_ssim_loss_survives_tf32(kind, monkeypatch):
    # Ampere and newer cards may round the inputs of float32 products to 10 bits; before, 0.024 became negative.
    def tf32(x):
        bits = x.detach().numpy().view(np.uint32) + np.uint32(0x1000)
        return paddle.to_tensor((bits & np.uint32(0xFFFFE000)).view(np.float32))

    pred, target = photographs(kind)
    exact = 1 - ssim(pred[0].transpose(1, 2, 0), target[0].transpose(1, 2, 0), border="zeros")
    assert exact > 0.01
    product = paddle.matmul
    monkeypatch.setattr(paddle, "matmul", lambda a, b, **kwargs: product(tf32(a), tf32(b), **kwargs))
    assert float(ssim_loss(tensor(pred), tensor(target))) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("factor", [2, 8])
def test_low_target_is_the_mean_of_the_central_four_pixels(factor):
    target = rng.random((1, 3, 16, 24))
    tiles = target.reshape(1, 3, 16 // factor, factor, 24 // factor, factor)
    centre = slice(factor // 2 - 1, factor // 2 + 1)
    want = tiles[:, :, :, centre, :, centre].mean(axis=(3, 5))
    got = low_target(tensor(target), paddle.zeros([1, 3, 16 // factor, 24 // factor]))
    np.testing.assert_allclose(got.numpy(), want, atol=1e-6)


@pytest.mark.parametrize(("weighting", "weights"), [("code", (5, 0.002, 0.5)), ("paper", (1, 4e-4, 0.1))])
def test_both_weightings(weighting, weights):
    (y, y_low), target = example()
    loss = UHDFourLoss(weighting=weighting, perceptual=False)((y, y_low), {"target": target})

    def distance(a, b):
        error = np.abs(a.numpy() - b.numpy())
        return (0.5 * error**2).mean() if weighting == "code" else error.mean()

    terms = distance(y, target), float(ssim_loss(y, target)), distance(y_low, low_target(target, y_low))
    assert float(loss) == pytest.approx(np.dot(weights, terms), rel=1e-5)
    loss.backward()
    assert all(np.isfinite(output.grad.numpy()).all() and output.grad.abs().max() > 0 for output in (y, y_low))


@pytest.mark.parametrize(("weighting", "weight", "taps"), [("code", 0.001, 1), ("paper", 2e-4, 4)])
def test_perceptual_term(vgg_file, weighting, weight, taps):
    (y, y_low), target = example(16, 16)
    plain = UHDFourLoss(weighting=weighting, perceptual=False)((y, y_low), {"target": target})
    criterion = UHDFourLoss(weighting=weighting, vgg_weights=str(vgg_file))
    features = list(zip(criterion.vgg(y), criterion.vgg(target), strict=True))
    assert len(features) == taps
    want = sum(((a.numpy() - b.numpy()) ** 2).mean() for a, b in features)
    loss = criterion((y, y_low), {"target": target})
    assert float(loss) - float(plain) == pytest.approx(weight * want, rel=0.05, abs=1e-7)
    loss.backward()
    assert all(p.grad is None for p in criterion.vgg.parameters())
    y.clear_gradient()
    sum(((a - b) ** 2).mean() for a, b in features).backward()
    assert y.grad.abs().max() > 0  # the frozen network lets the gradient through


def test_the_perceptual_term_is_never_left_out_silently(tmp_path):
    node = {"name": "ppuhdfour.uhdfour_loss.UHDFourLoss"}
    components.check(node, "Loss")
    with pytest.raises(ConfigError, match=r"Loss\.vgg_weights.*Loss\.perceptual: false") as raised:
        components.build(node)
    assert "\n" not in str(raised.value)
    with pytest.raises(WeightsError, match="no such weight file"):
        UHDFourLoss(vgg_weights=str(tmp_path / "absent.pth"))


def test_another_networks_file_is_refused(tmp_path):
    path = tmp_path / "vgg19_bn.safetensors"
    save_arrays(path, {"features.0.weight": np.zeros((64, 3, 3, 3), "float32")}, {"format": "pt"})
    with pytest.raises(WeightsError, match="missing features"):
        UHDFourLoss(vgg_weights=str(path))


def test_wrong_outputs_and_crops():
    (y, _), target = example()
    criterion = UHDFourLoss(perceptual=False)
    with pytest.raises(ConfigError, match="two outputs"):
        criterion(y, {"target": target})
    with pytest.raises(ConfigError, match="not a multiple"):
        criterion((y[:, :, :30], paddle.zeros([2, 3, 4, 6])), {"target": target[:, :, :30]})
    with pytest.raises(ConfigError, match="weighting"):
        UHDFourLoss(weighting="mine", perceptual=False)
