"""VGG19 and LPIPS: sizes, files people have, and the metric's basic properties.

tests/reference/test_perceptual_torch.py sets both beside torch.
"""

import numpy as np
import paddle
import pytest

from ppcore import weights
from ppcore.errors import ConfigError, DataError, WeightsError
from ppcore.metrics import ImageQuality
from ppcore.metrics.lpips import LPIPS, load_lpips
from ppcore.metrics.vgg import CONVS, VGG19


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(AlexNet's file, LPIPS's file, the whole metric's file) under their authors' names, random weights."""
    paddle.seed(1)
    arrays = {name: p.numpy() for name, p in LPIPS().named_parameters()}
    trunk = {name: a for name, a in arrays.items() if name.startswith("features")}
    linear = {f"{n[:4]}.model.1.weight": np.abs(a) for n, a in arrays.items() if n.startswith("lin")}
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    named = {n: (int(n.split(".")[1]), n.split(".")[2]) for n in trunk}
    whole = {f"net.slice{slices[i]}.{i}.{kind}": trunk[n] for n, (i, kind) in named.items()}
    whole |= linear | {name.replace("lin", "lins.", 1): a for name, a in linear.items()}
    whole["scaling_layer.shift"] = np.zeros((1, 3, 1, 1), "float32")
    folder = tmp_path_factory.mktemp("lpips")
    paths = [folder / f"{name}.safetensors" for name in ("alexnet", "alex", "whole")]
    for path, content in zip(
        paths, (trunk | {"classifier.1.bias": np.zeros(3, "float32")}, linear, whole), strict=True
    ):
        weights.save_arrays(path, content, {"format": "pt"})
    return paths


def test_parameter_counts():
    assert sum(p.size for p in VGG19().parameters()) == 10_585_152
    assert sum(p.size for p in LPIPS().parameters()) == 2_469_696 + 64 + 192 + 384 + 256 + 256


def test_taps_of_vgg19():
    x = paddle.rand([1, 3, 16, 24])
    found = VGG19(taps=list(CONVS))(x)
    assert [tuple(f.shape[1:]) for f in found] == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3), (512, 1, 1)]
    assert all(float(f.min()) < 0 for f in found)  # before the ReLU
    with pytest.raises(ConfigError, match="taps"):
        VGG19(taps=["conv5_3"])


def test_one_file_or_two_are_the_same(files):
    alexnet, alex, whole = files
    image, target = np.random.default_rng(0).random((2, 40, 50, 3))
    two, one = load_lpips([alexnet, alex]), load_lpips(whole)
    distance = two.distance(image, target)
    assert distance == one.distance(image, target) == pytest.approx(two.distance(target, image), rel=1e-6)
    assert distance > 0
    assert two.distance(image, image) == 0
    assert not any(p.trainable for p in two.parameters())


def test_an_incomplete_set_of_files(files):
    with pytest.raises(WeightsError, match=r"alexnet\.safetensors.*missing lin0\.weight.*together"):
        load_lpips(files[0])
    with pytest.raises(WeightsError, match=r"missing features\.0\.weight"):
        load_lpips(str(files[1]))


def test_an_image_too_small(files):
    with pytest.raises(DataError, match="31x31 pixels or more, not 30x50"):
        load_lpips(files[2]).distance(*np.zeros((2, 30, 50, 3)))
    assert load_lpips(files[2]).distance(*np.ones((2, 31, 31, 3))) == 0


def test_as_a_metric(files):
    metric = ImageQuality(metrics=["psnr", "lpips"], lpips_weights=[str(path) for path in files[:2]])
    y, target = paddle.rand([2, 3, 33, 35]), np.random.default_rng(1).random((2, 3, 33, 35)).astype("float32")
    metric.update(y, {"target": target})
    found = metric.compute()
    assert set(found) == {"n", "psnr", "lpips"}
    assert found["lpips"] == pytest.approx(np.mean([entry["lpips"] for entry in metric.per_image]))
    assert "LPIPS AlexNet v0.1" in metric.describe()
