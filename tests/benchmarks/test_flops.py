"""Multiply-adds are those one counts by hand."""

import paddle.nn as nn
import pytest

from benchmarks.flops import image_flop, multiply_adds
from ppcore.config import components
from ppcore.model import traits


def test_a_convolution_and_a_linear_layer():
    conv = nn.Conv2D(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2, bias_attr=False)
    assert multiply_adds(conv, (2, 4, 8, 10)) == 2 * 6 * (4 * 5) * (2 * 3 * 5)
    assert multiply_adds(nn.Sequential(nn.Flatten(), nn.Linear(12, 7)), (3, 3, 2, 2)) == 3 * 12 * 7


def test_a_transposed_convolution():
    assert multiply_adds(nn.Conv2DTranspose(4, 6, 2, stride=2), (1, 4, 5, 7)) == 4 * 5 * 7 * 6 * 2 * 2


def test_a_small_transformer_by_hand():
    model = components.build(
        {"name": "ppvit.VisionTransformer", "img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 3,
         "num_heads": 2, "num_classes": 10}
    )  # fmt: skip
    tokens, dim = 5, 24
    block = tokens * dim * 3 * dim + 2 * tokens**2 * dim + tokens * dim * dim + 2 * tokens * dim * 4 * dim
    assert multiply_adds(model, (2, 3, 32, 32)) == 2 * (4 * 3 * 16 * 16 * dim + 3 * block + dim * 10)
    assert model.training  # as it was


@pytest.mark.parametrize(
    ("arch", "giga"),
    [
        ("ppdeit.deit_tiny_patch16_224", 1.25),
        pytest.param("ppdeit.deit_small_patch16_224", 4.6, marks=pytest.mark.slow),
        pytest.param("ppvit.vit_base_patch16_224", 17.6, marks=pytest.mark.slow),
    ],
)
def test_published_counts(arch, giga):
    """DeiT, Table 5: 1.2, 4.6 and 17.5 GFLOP, which are multiply-adds."""
    assert multiply_adds(components.build({"name": arch}), (1, 3, 224, 224)) / 1e9 == pytest.approx(giga, rel=0.01)


@pytest.mark.parametrize(
    ("arch", "counted"),
    [
        ("ppswin.swin_tiny_patch4_window7_224", 4.490567),
        pytest.param("ppswin.swin_small_patch4_window7_224", 8.740875, marks=pytest.mark.slow),
        pytest.param("ppswin.swin_base_patch4_window7_224", 15.430947, marks=pytest.mark.slow),
        pytest.param("ppswin.swin_base_patch4_window12_384", 47.083135, marks=pytest.mark.slow),
    ],
)
def test_windows_as_torch_counts_them(arch, counted):
    """torch's FlopCounter on the official code, halved."""
    model = components.build({"name": arch})
    size = traits(model).img_size
    assert multiply_adds(model, (1, 3, *size)) / 1e9 == pytest.approx(counted, abs=1e-6)


def test_a_small_litv2_by_hand():
    model = components.build(
        {"name": "pplit.LITv2", "img_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "local_ws": [0, 2],
         "alpha": 0.5, "num_classes": 10}
    )  # fmt: skip
    embedding, merging = 64 * 48 * 16, 16 * 4 * 16 * (8 + 32)  # of merging: offsets, then the convolution

    def mlp(places: int, dim: int) -> int:
        return places * (2 * dim * 4 * dim + 9 * 4 * dim)

    places, dim, half = 16, 32, 16
    high = places * (3 * dim * half + 2 * 4 * half + half * half)
    low = places * (dim * half + 2 * 4 * half + half * half) + 4 * 2 * dim * half
    assert (
        multiply_adds(model, (1, 3, 32, 32)) == embedding + mlp(64, 16) + merging + high + low + mlp(16, 32) + 32 * 10
    )


def test_an_image_network_grows_with_the_image():
    model = components.build({"name": "ppuhdfour.uhdfour"})
    assert image_flop(model, 256, 128, small=64) == 2 * multiply_adds(model, (1, 3, 256, 128))
    assert image_flop(model, 64, 256, small=64) == 2 * multiply_adds(model, (1, 3, 64, 256))
    assert image_flop(model, 2160, 3840, small=64) / 1e12 == pytest.approx(1.19, abs=0.005)


def test_convolutions_without_padding_count_at_their_own_size():
    model = components.build({"name": "ppllie.MBLLEN", "width": 8, "depth": 2})
    assert image_flop(model, 70, 93, small=32) == 2 * multiply_adds(model, (1, 3, 70, 93))


def test_networks_that_enlarge_by_hand():
    fsrcnn = components.build({"name": "ppsr.fsrcnn", "scale": 4, "border": "zero"})
    weights = 25 * 56 + 56 * 12 + 4 * 9 * 12**2 + 12 * 56 + 81 * 56
    assert multiply_adds(fsrcnn, (1, 1, 9, 7)) == 9 * 7 * weights
    vdsr = components.build({"name": "ppsr.vdsr"})
    assert image_flop(vdsr, 2160, 3840, small=16) == 2 * 2160 * 3840 * 664_704
