"""PSNR and SSIM against scikit-image, and the protocols of `ImageQuality`."""

import logging

import numpy as np
import paddle
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ppcore.errors import ConfigError, DataError
from ppcore.metrics import ImageQuality
from ppcore.metrics.psnr_ssim import luma, match_mean, psnr, round_to_8_bits, ssim

GAUSSIAN = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def pair(shape=(37, 52, 3), seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    target = rng.random(shape)
    return target + noise * rng.standard_normal(shape), target


def batch(images, targets):
    """HWC arrays -> (outputs, batch) as the engine hands them over."""
    stack = [np.stack(side).transpose(0, 3, 1, 2).astype("float32") for side in (images, targets)]
    return paddle.to_tensor(stack[0]), {"target": stack[1], "index": np.arange(len(images))}


@pytest.mark.parametrize("shape", [(37, 52, 3), (11, 11, 3), (12, 300, 1), (64, 64)])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_equals_scikit_image(shape, data_range):
    image, target = (data_range * side for side in pair(shape))
    axis = 2 if len(shape) == 3 else None
    assert psnr(image, target, data_range=data_range) == pytest.approx(
        peak_signal_noise_ratio(target, image, data_range=data_range), abs=1e-9
    )
    kwargs = dict(data_range=data_range, channel_axis=axis)
    assert ssim(image, target, data_range=data_range) == pytest.approx(
        structural_similarity(target, image, **kwargs, **GAUSSIAN), abs=1e-9
    )
    assert ssim(image, target, data_range=data_range, window="uniform") == pytest.approx(
        structural_similarity(target, image, **kwargs), abs=1e-9
    )
    _, full = structural_similarity(target, image, full=True, **kwargs, **GAUSSIAN)
    assert ssim(image, target, data_range=data_range, border="reflect") == pytest.approx(full.mean(), abs=1e-9)


def test_moments_do_not_cancel_on_flat_bright_images():
    """Against the definition, centred window by window: in float64 a mean of squares minus a squared mean is enough."""
    rng = np.random.default_rng(4)
    target = 254.0 + 1e-3 * rng.standard_normal((20, 24))
    image = target + 1e-3 * rng.standard_normal(target.shape)
    axis = np.exp(-0.5 * (np.arange(11) - 5) ** 2 / 1.5**2)
    weights = np.outer(axis, axis) / axis.sum() ** 2
    c1, c2 = 0.01**2 * 1e-4, 0.03**2 * 1e-4
    found = []
    for top in range(10):
        for left in range(14):
            x, y = (side[top : top + 11, left : left + 11] for side in (image, target))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy, cov = ((weights * (a - ma) * (b - mb)).sum() for a, ma, b, mb in
                           ((x, mx, x, mx), (y, my, y, my), (x, mx, y, my)))  # fmt: skip
            found.append((2 * mx * my + c1) / (mx**2 + my**2 + c1) * (2 * cov + c2) / (vx + vy + c2))
    assert 0.2 < np.mean(found) < 0.999
    assert ssim(image, target, data_range=0.01) == pytest.approx(np.mean(found), abs=1e-5)


def test_identical_images_and_sizes():
    image, _ = pair()
    assert psnr(image, image) == float("inf")
    assert ssim(image, image) == pytest.approx(1.0)
    with pytest.raises(DataError, match="37x52x3 cannot be measured against one of 36x52x3"):
        psnr(image, image[:-1])
    with pytest.raises(DataError, match="11x11 pixels or more, not 10x52x3"):
        ssim(image[:10], image[:10])


def test_rounding_is_a_file_on_disk():
    image, _ = pair(noise=0.5)
    stored = np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(round_to_8_bits(image), stored / 255)


def test_match_mean():
    _, target = pair()
    scaled = match_mean(0.1 * target, target)
    assert luma(scaled).mean() == pytest.approx(luma(target).mean())
    np.testing.assert_array_equal(match_mean(np.zeros_like(target), target), 0.0)


def test_protocols():
    image, target = pair(seed=3)
    outputs, given = batch([image], [target])
    image, target = image.astype("float32"), target.astype("float32")
    paper, official = ImageQuality(), ImageQuality(protocol="official_code")
    for metric in (paper, official):
        metric.update((outputs, outputs), given)
    rounded, reference = round_to_8_bits(image), round_to_8_bits(target)
    assert paper.compute() == {
        "n": 1,
        "psnr": pytest.approx(peak_signal_noise_ratio(reference, rounded, data_range=1)),
        "ssim": pytest.approx(structural_similarity(luma(reference), luma(rounded), data_range=1, **GAUSSIAN)),
    }
    wide = image.astype("float64"), target.astype("float64")
    assert official.compute() == {
        "n": 1,
        "psnr": pytest.approx(peak_signal_noise_ratio(*wide[::-1], data_range=1)),
        "ssim": pytest.approx(structural_similarity(*wide, data_range=1, channel_axis=2)),
    }
    assert paper.compute()["psnr"] > official.compute()["psnr"] + 0.3  # a fifth of the noise was beyond [0, 1]


def test_any_batch_size_and_any_process_count():
    images, targets = zip(*(pair(seed=seed) for seed in range(5)), strict=True)
    whole, parts = ImageQuality(), [ImageQuality(), ImageQuality()]
    whole.update(*batch(images, targets))
    for i in range(5):
        parts[i % 2].update(*batch(images[i : i + 1], targets[i : i + 1]))
    merged = ImageQuality()
    for part in parts:
        merged.sums = merged.sums + part.sums
    assert merged.compute() == pytest.approx(whole.compute(), rel=1e-12)
    assert whole.compute()["psnr"] == pytest.approx(np.mean([entry["psnr"] for entry in whole.per_image]))
    assert [entry["index"] for entry in whole.per_image] == [0, 1, 2, 3, 4]


def test_an_image_without_error_does_not_make_the_mean_infinite(caplog):
    image, target = pair()
    metric = ImageQuality()
    metric.update(*batch([target, image], [target, target]))
    other = psnr(round_to_8_bits(image.astype("float32")), round_to_8_bits(target.astype("float32")))
    with caplog.at_level(logging.WARNING):
        assert metric.compute()["psnr"] == pytest.approx((100 + other) / 2)
    assert "1 of 2 images equal their reference: counted as 100 dB" in caplog.text
    assert metric.per_image[0]["psnr"] == float("inf")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("protocol", ["paper", "official_code"])
def test_an_output_that_is_not_finite_is_never_a_good_number(bad, protocol):
    image, target = pair()
    image[5, 5] = bad
    metric = ImageQuality(protocol=protocol)
    metric.update(*batch([image], [target]))
    found = metric.compute()["psnr"]
    assert not np.isfinite(found) or (bad == np.inf and protocol == "paper")  # infinity is white in a file


def test_options_change_the_number_and_are_said():
    image, target = pair()
    image[:5] = 0.0
    values = {}
    for name, options in {"plain": {}, "crop": {"crop": 5}, "mean": {"gt_mean": True}}.items():
        metric = ImageQuality(**options)
        metric.update(*batch([image], [target]))
        values[name] = metric.compute()[metric.primary_metric], metric.describe()
    assert values["crop"][0] > values["plain"][0] + 1
    assert values["mean"][0] != values["plain"][0]
    assert "5 px cropped" in values["crop"][1]
    assert "GT-mean" in values["mean"][1]
    assert "GT-mean" not in values["plain"][1]
    assert len({text for _, text in values.values()} | {ImageQuality(protocol="official_code").describe()}) == 4
    assert "\n" not in values["mean"][1]


def test_bad_input():
    for arguments, message in [
        (dict(protocol="files"), "protocol"),
        (dict(metrics=[]), "metrics"),
        (dict(metrics=["psnr", "niqe"]), "metrics"),
        (dict(metrics=["lpips"]), "lpips_weights"),
        (dict(lpips_weights="a.pth"), "lpips_weights"),
        (dict(crop=-1), "crop"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ImageQuality(**arguments)
    image, target = pair()
    outputs, given = batch([image], [target])
    with pytest.raises(DataError, match="the references"):
        ImageQuality().update(outputs[:, :, 1:], given)
    with pytest.raises(DataError, match="leaves nothing"):
        ImageQuality(crop=20).update(outputs, given)
    with pytest.raises(ConfigError, match="nothing was evaluated"):
        ImageQuality().compute()
