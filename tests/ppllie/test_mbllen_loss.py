"""MBLLEN's loss: each term against its formula in numpy, both forms of the region, and what it refuses."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppcore.errors import ConfigError
from ppcore.metrics.psnr_ssim import ssim
from ppcore.metrics.vgg import VGG19
from ppcore.weights import save_arrays
from ppllie.mbllen_loss import MBLLENLoss, dark_pixels, region_loss

rng = np.random.default_rng(0)
Y, TARGET = rng.random((2, 2, 3, 14, 17)).astype(np.float32)


def tensor(array: np.ndarray) -> paddle.Tensor:
    return paddle.to_tensor(array)


def region(y: np.ndarray, target: np.ndarray, sign: int) -> float:
    """The region term, pixel by pixel of the sorted luma; `sign` -1 is the code's slip."""
    total = 0.0
    for one, wanted in zip(y.astype(np.float64), target, strict=True):
        luma = 0.39 * one[0] + 0.5 * one[1] + 0.11 * one[2]
        place = int(luma.size * 0.4 - 1)
        mask = luma <= sign * np.sort(luma.ravel())[place]
        total += np.mean(4 * np.abs(mask * (one - wanted)) + np.abs(~mask * (one - wanted)))
    return total / len(y)


@pytest.mark.parametrize(("form", "sign"), [("fixed", 1), ("code", -1)])
def test_the_sum_is_the_formulas(form, sign):
    similarity = np.mean([ssim(a.transpose(1, 2, 0), b.transpose(1, 2, 0)) for a, b in zip(Y, TARGET, strict=True)])
    want = np.abs(Y - TARGET).mean() + 3 - 3 * similarity + region(Y, TARGET, sign)
    got = MBLLENLoss(region=form, context=False)(tensor(Y), {"target": tensor(TARGET)})
    assert float(got) == pytest.approx(want, rel=1e-5)
    assert float(region_loss(tensor(Y), tensor(TARGET), form)) == pytest.approx(region(Y, TARGET, sign), rel=1e-5)


def test_the_codes_mask_is_empty_but_for_black_images():
    assert float(dark_pixels(tensor(Y), "code").sum()) == 0
    assert float(dark_pixels(tensor(Y), "fixed").mean()) == pytest.approx(int(14 * 17 * 0.4 - 1) / (14 * 17), abs=0.01)
    black = Y.copy()
    black[:, :, :7] = 0
    assert float(dark_pixels(tensor(black), "code").mean()) == pytest.approx(0.5)


def test_the_mask_has_no_gradient():
    y = paddle.to_tensor(Y, stop_gradient=False)
    region_loss(y, tensor(TARGET), "fixed").backward()
    size = np.abs(y.grad.numpy()) * Y.size
    mask = np.broadcast_to(dark_pixels(tensor(Y), "fixed").numpy(), Y.shape)
    np.testing.assert_allclose(size, 1 + 3 * mask, rtol=1e-5)


def test_the_context_term_is_a_third_of_vggs_features_after_the_relu(tmp_path):
    paddle.seed(0)
    vgg = VGG19(taps=("conv3_4",))
    save_arrays(tmp_path / "vgg.safetensors", {n: p.numpy() for n, p in vgg.named_parameters()}, {"format": "pt"})
    with paddle.no_grad():
        a, b = (F.relu(vgg(tensor(image * 2 - 1))[0]).numpy() for image in (Y, TARGET))
    whole, without = (
        float(MBLLENLoss(**options)(tensor(Y), {"target": tensor(TARGET)}))
        for options in ({"vgg_weights": str(tmp_path / "vgg.safetensors")}, {"context": False})
    )
    assert np.abs(a - b).mean() > 1e-4
    assert whole - without == pytest.approx(np.abs(a - b).mean() / 3, rel=2e-3)


def test_says_what_it_does_not_take():
    with pytest.raises(ConfigError, match="vgg_weights: the context term needs"):
        MBLLENLoss()
    with pytest.raises(ConfigError, match="leave them out"):
        MBLLENLoss(context=False, vgg_weights="x.pth")
    with pytest.raises(ConfigError, match="code or fixed"):
        MBLLENLoss(region="both", context=False)
    with pytest.raises(ConfigError, match="several outputs"):
        MBLLENLoss(context=False)((tensor(Y), tensor(Y)), {"target": tensor(TARGET)})
    with pytest.raises(ConfigError, match="11x11"):
        MBLLENLoss(context=False)(tensor(Y[..., :9]), {"target": tensor(TARGET[..., :9])})
