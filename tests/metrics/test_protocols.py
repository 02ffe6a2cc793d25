"""Every convention of `ImageQuality` as an argument, against scikit-image and OpenCV, and what its numbers are called."""

import cv2
import numpy as np
import paddle
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ppcore.errors import ConfigError
from ppcore.metrics import ImageQuality
from ppcore.metrics.protocols import PROTOCOLS
from ppcore.metrics.psnr_ssim import luma_8_bits, truncate_to_8_bits

GAUSSIAN = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
LUMA, STUDIO = np.array([0.299, 0.587, 0.114]), np.array([65.481, 128.553, 24.966])


@pytest.fixture(scope="module")
def pair():
    """(output, reference), float32 [H, W, 3]; the reference is a file's, the output reaches beyond [0, 1]."""
    rng = np.random.default_rng(5)
    target = (rng.integers(0, 256, (40, 52, 3)) / 255.0).astype("float32")
    return (0.6 * target + 0.2 * rng.standard_normal(target.shape) + 0.1).astype("float32"), target


def measured(pair, **arguments):
    metric = ImageQuality(**arguments)
    image, target = (side.transpose(2, 0, 1)[None] for side in pair)
    metric.update(paddle.to_tensor(image), {"target": target})
    return metric.compute()


def independent(pair, *, pixels, on, window, gt_mean=False):
    """(PSNR, SSIM) by scikit-image and OpenCV, in 0..255; GT-mean as done to files."""
    image, target = (255 * np.asarray(side, np.float64) for side in pair)
    target = np.round(target)
    if pixels != "unclamped":
        image = image.clip(0, 255)
    if pixels in ("rounded", "truncated"):
        image = np.floor(image + (0.5 if pixels == "rounded" else 0))
    if gt_mean:
        image = (image * (target @ LUMA).mean() / (image @ LUMA).mean()).clip(0, 255)
    if on == "gray8":
        gray = [cv2.cvtColor(side.astype(np.uint8), cv2.COLOR_RGB2GRAY) for side in (np.round(image), target)]
        image, target = (side.astype(np.float64) for side in gray)
    if on in ("luma", "studio"):
        image, target = (side @ LUMA if on == "luma" else 16 + side @ STUDIO / 255 for side in (image, target))
    axis = 2 if image.ndim == 3 else None
    similar = structural_similarity(
        target, image, data_range=255, channel_axis=axis, **(GAUSSIAN if window == "gaussian" else {})
    )
    return peak_signal_noise_ratio(target, image, data_range=255), similar


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_named_protocol_is_what_it_says(pair, protocol):
    said = PROTOCOLS[protocol]
    found = measured(pair, protocol=protocol)
    on = {"luma8": "gray8"}
    _, similar = independent(pair, pixels=said.pixels, on=on.get(said.ssim_on, said.ssim_on), window=said.window)
    signal, _ = independent(pair, pixels=said.pixels, on=said.psnr_on, window=said.window)
    assert found["psnr"] == pytest.approx(signal, abs=1e-6)
    assert found["ssim"] == pytest.approx(similar, abs=1e-7)


def test_the_protocols_differ(pair):
    numbers = {name: (*measured(pair, protocol=name).values(),) for name in PROTOCOLS}
    assert len(set(numbers.values())) == len(PROTOCOLS)


def test_an_argument_goes_over_the_protocol_and_stands_in_the_name(pair):
    found = measured(pair, protocol="paper", ssim_on="rgb", window="uniform")
    _, similar = independent(pair, pixels="rounded", on="rgb", window="uniform")
    assert found == {"n": 1, "psnr": measured(pair)["psnr"], "ssim_rgb_uniform": pytest.approx(similar, abs=1e-7)}
    found = measured(pair, protocol="rounded", pixels="truncated")
    assert found.keys() == {"n", "psnr_truncated", "ssim_truncated"}
    assert list(found.values()) == list(measured(pair, protocol="truncated").values())
    assert (
        "protocol rounded, changed: images clamped and truncated to 8 bits"
        in ImageQuality(protocol="rounded", pixels="truncated").describe()
    )


def test_a_key_tells_metrics_apart():
    metric = ImageQuality(protocol="gray8", key="others")
    assert [(spec.key, spec.name, spec.heading) for spec in metric.specs] == [
        ("psnr_others", "PSNR others", "PSNR others dB"),
        ("ssim_others", "SSIM others", "SSIM others"),
    ]
    assert metric.primary_metric == "psnr_others"
    assert metric.describe().startswith("protocol gray8 (others): ")


def test_gt_mean_is_marked_wherever_the_number_stands(pair):
    metric = ImageQuality(protocol="rounded", gt_mean=True, gt_mean_of="file", key="scaled")
    assert [spec.key for spec in metric.specs] == ["psnr_scaled_gt_mean", "ssim_scaled_gt_mean"]
    assert all("GT-mean" in text for spec in metric.specs for text in (spec.heading, spec.title, spec.axis))
    assert "GT-mean" in metric.describe()
    found = measured(pair, protocol="rounded", gt_mean=True, gt_mean_of="file")
    signal, similar = independent(pair, pixels="rounded", on="rgb", window="gaussian", gt_mean=True)
    assert found == {
        "n": 1,
        "psnr_gt_mean": pytest.approx(signal, abs=1e-6),
        "ssim_gt_mean": pytest.approx(similar, abs=1e-7),
    }
    assert measured(pair, protocol="rounded", gt_mean=True) != found


def test_truncation_keeps_what_a_file_held():
    levels = np.arange(256)
    np.testing.assert_array_equal(truncate_to_8_bits((levels / 255.0).astype("float32")) * 255, levels)
    np.testing.assert_array_equal(truncate_to_8_bits(np.array([-1.0, 0.5, 0.9999, 2.0])) * 255, [0, 127, 254, 255])


def test_8_bit_gray_of_an_image_that_is_not_finite_is_no_number():
    image = np.full((4, 4, 3), 0.5)
    image[0, 0, 0] = np.nan
    assert np.isnan(luma_8_bits(image)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "truncate"}, r"Metric\.protocol must be one of .*did you mean 'truncated'"),
        ({"pixels": "trunc"}, r"Metric\.pixels must be one of rounded, truncated, float, unclamped, not 'trunc'"),
        ({"ssim_on": "y"}, r"Metric\.ssim_on"),
        ({"window": "box"}, r"Metric\.window must be one of gaussian, uniform"),
        ({"gt_mean_of": "png"}, r"Metric\.gt_mean_of must be output or file"),
        ({"key": "A b"}, r"Metric\.key is made of small letters"),
    ],
)
def test_unknown_conventions(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ImageQuality(**arguments)
