"""MBLLEN with its authors' weights on LOL's test images, against what the released network gives: minutes of CPU."""

import os
from pathlib import Path

import filling
import numpy as np
import paddle
import pytest

import ppcore.weights
import ppllie
from ppcore.data import read_image
from ppcore.metrics import psnr_ssim
from ppllie.mbllen_postprocess import postprocess

DATA = Path(os.environ.get("PP_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
PSNR, SSIM, RAW, POST = 2e-3, 2e-5, 2e-5, 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["LOL_img_lowlight", "Syn_img_lowlight", "Syn_img_lowlight_withnoise"])
@pytest.mark.parametrize("path", filling.files("llie_real"))
def test_image_of_lol(path, weights):
    file = DATA / "weights" / f"MBLLEN_{weights}.safetensors"
    if not file.is_file() or not (DATA / "lol_eval15").is_dir():
        pytest.skip(f"no {file.name} and lol_eval15 in {DATA}: set PP_DATA_DIR")
    manifest, arrays = filling.load(path)
    model, number = ppllie.MBLLEN(), 0
    ppcore.weights.load(model, file, source="mbllen")
    model.eval()
    name = manifest["images"][number]
    low, high = (read_image(DATA / "lol_eval15" / side / f"{name}.png") for side in ("low", "high"))
    with paddle.no_grad():
        raw = model(paddle.to_tensor(low.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)))
    for kind, tensor, bound in (("raw", raw, RAW), ("post", postprocess(raw), POST)):
        y = tensor.numpy()[0].transpose(1, 2, 0)
        step = tuple(slice(None, None, -(-size // 16)) for size in y.shape[:2])
        np.testing.assert_allclose(y[step], arrays[f"sample/mbllen_{weights}/{kind}"][number], rtol=0, atol=bound)
        y, target = psnr_ssim.round_to_8_bits(y), high / 255
        want = dict(zip(manifest["columns"], arrays[f"metrics/mbllen_{weights}_{kind}"][number], strict=True))
        assert psnr_ssim.psnr(y, target) == pytest.approx(want["psnr_rgb"], abs=PSNR)
        assert psnr_ssim.ssim(y, target) == pytest.approx(want["ssim_rgb_gauss"], abs=SSIM)
        assert psnr_ssim.ssim(y, target, window="uniform") == pytest.approx(want["ssim_rgb_uniform7"], abs=SSIM)
