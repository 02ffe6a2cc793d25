"""VGG19's features, LPIPS and the SSIM loss beside torch, with weights from a file torch wrote.

Marker `reference`; run with `pytest -m reference tests/reference`.
"""

import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch")

import paddle  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from ppcore.metrics.lpips import load_lpips  # noqa: E402
from ppcore.metrics.vgg import CONVS, load_vgg19  # noqa: E402
from ppcore.reproduce.fidelity import of_max  # noqa: E402
from ppuhdfour.uhdfour_loss import ssim_loss  # noqa: E402

rng = np.random.default_rng(0)


def vgg19():
    """Configuration E as torchvision lays it out: 16 convolutions, a pooling after 2, 4, 8, 12 and 16."""
    layers, before = [], 3
    for step in (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"):
        layers += [nn.MaxPool2d(2, 2)] if step == "M" else [nn.Conv2d(before, step, 3, padding=1), nn.ReLU()]
        before = before if step == "M" else step
    return nn.Sequential(*layers)


def alexnet():
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )


def prefixed(network):
    return {f"features.{name}": tensor for name, tensor in network.state_dict().items()}


def test_vgg19_features(tmp_path):
    torch.manual_seed(0)
    theirs = vgg19()
    torch.save({**prefixed(theirs), "classifier.0.weight": torch.zeros(4, 4)}, tmp_path / "vgg19.pth")
    ours = load_vgg19(tmp_path / "vgg19.pth", list(CONVS))
    x = rng.random((2, 3, 33, 40), dtype=np.float32)
    with torch.no_grad():
        for got, end in zip(ours(paddle.to_tensor(x)), CONVS.values(), strict=True):
            assert of_max(got.numpy(), theirs[: end + 1](torch.from_numpy(x)).numpy()) < 1e-5


def test_lpips(tmp_path):
    torch.manual_seed(1)
    theirs, linear = alexnet(), [torch.rand(1, c, 1, 1) for c in (64, 192, 384, 256, 256)]
    torch.save({**prefixed(theirs), "classifier.1.weight": torch.zeros(4, 4)}, tmp_path / "alexnet.pth")
    torch.save({f"lin{i}.model.1.weight": w for i, w in enumerate(linear)}, tmp_path / "alex.pth")
    ours = load_lpips([tmp_path / "alexnet.pth", tmp_path / "alex.pth"])
    x, y = rng.random((2, 3, 3, 64, 75), dtype=np.float32)

    def features(image):
        shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
        image = (2 * torch.from_numpy(image) - 1 - shift) / scale
        found = []
        for i, layer in enumerate(theirs):
            image = layer(image)
            if i in (1, 4, 7, 9, 11):
                found.append(image / (image.norm(dim=1, keepdim=True) + 1e-10))
        return found

    with torch.no_grad():
        want = sum(
            (w * (a - b) ** 2).sum(dim=1).mean(dim=(1, 2))
            for a, b, w in zip(features(x), features(y), linear, strict=True)
        )
    assert of_max(ours(paddle.to_tensor(x), paddle.to_tensor(y)).numpy(), want.numpy()) < 1e-5


def test_ssim_loss_and_its_gradient():
    x, y = rng.random((2, 2, 3, 37, 29), dtype=np.float32)
    line = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    window = (line[:, None] * line[None] / line.sum() ** 2).expand(3, 1, 11, 11)

    def mean(t):
        return F.conv2d(t, window, padding=5, groups=3)

    a, b = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    top = (2 * mu_a * mu_b + 0.01**2) * (2 * cov + 0.03**2)
    want = 1 - (top / ((mu_a**2 + mu_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))).mean()
    want.backward()
    leaf = paddle.to_tensor(x, stop_gradient=False)
    got = ssim_loss(leaf, paddle.to_tensor(y))
    got.backward()
    assert float(got) == pytest.approx(want.item(), abs=1e-6)
    assert of_max(leaf.grad.numpy(), a.grad.numpy()) < 2e-5
