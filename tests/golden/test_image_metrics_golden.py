"""PSNR and SSIM in every convention of the golden file, to 1e-6."""

from functools import partial

import filling
import numpy as np
import paddle
import pytest

from ppcore.metrics.psnr_ssim import luma, psnr, round_to_8_bits, ssim
from ppuhdfour.uhdfour_loss import ssim_loss


def clamped(image):
    return np.clip(np.asarray(image, np.float64), 0, 1)


def unclamped(image):
    return np.asarray(image, np.float64)


def y_of(image):
    return luma(clamped(image))


studio = partial(luma, studio=True)

# column -> (what is done to both images, measure)
CONVENTIONS = {
    "psnr_float_rgb_unclamped": (unclamped, psnr),
    "psnr_float_rgb_clamped": (clamped, psnr),
    "psnr_uint8_rgb": (round_to_8_bits, psnr),
    "psnr_y_full_range_clamped": (y_of, psnr),
    "psnr_y_studio_range_clamped": (lambda i: studio(clamped(i)), psnr),
    "ssim_gauss_rgb_mean_crop5_clamped": (clamped, ssim),
    "ssim_gauss_rgb_mean_crop5_unclamped": (unclamped, ssim),
    "ssim_gauss_rgb_mean_full_reflect_clamped": (clamped, partial(ssim, border="reflect")),
    "ssim_gauss_y_full_range_crop5_clamped": (y_of, ssim),
    "ssim_gauss_y_studio_range_crop5_clamped": (lambda i: studio(clamped(i)), ssim),
    "ssim_gauss_y_studio_255_uint8_crop5": (
        lambda i: 255 * studio(round_to_8_bits(i)),
        partial(ssim, data_range=255),
    ),
    "ssim_uniform7_rgb_unclamped": (unclamped, partial(ssim, window="uniform")),
    "ssim_uniform7_rgb_clamped": (clamped, partial(ssim, window="uniform")),
    "ssim_uniform7_rgb_uint8": (round_to_8_bits, partial(ssim, window="uniform")),
    "mse_rgb_unclamped": (unclamped, lambda a, b: 10 ** (-psnr(a, b) / 10)),
    "ssim_gauss_zero_pad_rgb_unclamped_trainloss": (unclamped, partial(ssim, border="zeros")),
}


@pytest.mark.parametrize("path", filling.files("metrics"))
def test_every_convention(path):
    manifest, arrays = filling.load(path)
    assert set(manifest["columns"]) == set(CONVENTIONS)
    gaps = filling.Gaps()
    for i, row in enumerate(arrays["values"]):
        image, target = arrays[f"img{i}/pred"], arrays[f"img{i}/gt"]
        for column, want in zip(manifest["columns"], row, strict=True):
            prepare, measure = CONVENTIONS[column]
            gaps.add(f"image {i}: {column}", abs(measure(prepare(image), prepare(target)) - want), 1e-6)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("metrics"))
def test_the_training_loss(path):
    manifest, arrays = filling.load(path)
    column = manifest["columns"].index("ssim_gauss_zero_pad_rgb_unclamped_trainloss")
    for i, row in enumerate(arrays["values"]):
        sides = (
            paddle.to_tensor(arrays[f"img{i}/{s}"].transpose(2, 0, 1)[None].astype("float32")) for s in ("pred", "gt")
        )
        assert float(ssim_loss(*sides)) == pytest.approx(1 - row[column], abs=1e-5)
