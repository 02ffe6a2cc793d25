"""MATLAB's imresize and colours, and the bicubic figures made with them, against MATLAB's and an independent implementation's."""

import json
import math
from functools import cache

import numpy as np
import paddle
import pytest

from ppcore.data import EvalBatchSampler, EvalLoader
from ppcore.data.images.matlab_resize import BORDERS, imresize, modcrop, taps
from ppcore.data.images.ycbcr import rgb2ycbcr, y_of, ycbcr2rgb
from ppsr import DegradedImages, ImagesOf, LumaQuality
from ppsr.degrade import degrade, fitted
from ppsr.sr_protocols import PROTOCOLS, Making

SCALES = {"x0.5": 0.5, "x0.3333": 1 / 3, "x0.25": 0.25, "x2": 2, "x3": 3, "x4": 4, "x0.7": 0.7, "x1.3": 1.3}
PILLOW = Making("pillow", "symmetric", "resize", "rgb", "rgb")


@cache
def load(folder, name):
    return dict(np.load(folder / f"{name}.npz"))


@pytest.fixture
def resized(golden):
    return load(golden, "sr_resize_s0")


@pytest.fixture
def sr(real_data):
    if not (real_data / "sr" / "Set5").is_dir():
        pytest.skip(f"no sr/Set5 in {real_data}: set PP_DATA_DIR")
    return str(real_data / "sr")


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", SCALES)
def test_imresize_of_floats_and_bytes(resized, border, scale):
    image = resized["in_u8"]
    expected = resized[f"{border}/{scale}/float"]
    found = imresize(image / 255.0, SCALES[scale], border=border)
    found = found if found.shape == expected.shape else found[::3, ::2, 1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    if f"{border}/{scale}/u8" in resized:
        found = imresize(image, SCALES[scale], border=border)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, resized[f"{border}/{scale}/u8"])


@pytest.mark.parametrize("border", BORDERS)
def test_imresize_to_a_size_and_there_and_back(resized, border):
    image = resized["in_u8"] / 255.0
    close = dict(rtol=0, atol=1e-12)
    found = imresize(image, size=(23, 19), border=border)
    np.testing.assert_allclose(found, resized[f"{border}/size_23x19/float"], **close)
    found = imresize(image, size=(60, 31), border=border)[..., 1]
    np.testing.assert_allclose(found, resized[f"{border}/size_60x31/float_green"], **close)
    found = imresize(imresize(modcrop(image, 3), 1 / 3, border=border), 3, border=border)[..., 1]
    np.testing.assert_allclose(found, resized[f"{border}/down_up_x3/float_green"], **close)


def test_without_antialias(resized):
    found = imresize(resized["in_u8"] / 255.0, 0.5, antialias=False)
    np.testing.assert_allclose(found, resized["noantialias/x0.5/float"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "length"), [("x0.3333", 12), ("x2", 5), ("x0.7", 10), ("x0.25", 16)])
def test_taps(resized, name, length):
    weights, index = taps(length, math.ceil(length * SCALES[name]), SCALES[name])
    np.testing.assert_allclose(weights, resized[f"taps/{name}_n{length}/weights"], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(index, resized[f"taps/{name}_n{length}/index0"])


def test_colours(resized):
    image = resized["in_u8"]
    np.testing.assert_array_equal(rgb2ycbcr(image), resized["ycbcr/u8"])
    planes = rgb2ycbcr(image / 255.0)
    np.testing.assert_allclose(planes, resized["ycbcr/float"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(y_of(image), resized["ycbcr/float"][..., 0], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(255 * y_of(image, y8=True), resized["ycbcr/u8"][..., 0])
    planes[..., 0] += 0.1
    np.testing.assert_allclose(ycbcr2rgb(planes), resized["ycbcr/back_of_Y_plus_0.1"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(255 * y_of(image, "slip"), resized["ycbcr/y_yjn870"], rtol=0, atol=3e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pillow(resized, scale):
    image, expected = resized["in_u8"], [resized[f"pil/x{scale}/{name}"] for name in ("hr", "lr", "up")]
    np.testing.assert_array_equal(fitted(image, scale, PILLOW), expected[0])
    low, reference = degrade(image, scale, PILLOW, "lr_rgb")
    np.testing.assert_array_equal(np.rint(255 * low).transpose(1, 2, 0), expected[1])
    np.testing.assert_array_equal(np.rint(255 * reference).transpose(1, 2, 0), expected[0])
    bicubic, _ = degrade(image, scale, PILLOW)
    np.testing.assert_allclose(bicubic[0], y_of(expected[2], y8=True), rtol=0, atol=1e-7)


@pytest.mark.parametrize("case", ["butterfly_x2", "butterfly_x3", "butterfly_x4", "woman_x3"])
def test_matlabs_own_doubles(resized, sr, case):
    """The MATLAB that made them cropped in turn by 2, 3 and 4, up to the scale, and mirrored at the border."""
    name, scale = case.split("_x")
    folder = ImagesOf(root=sr, folder="Set5")
    image = next(s["image"] for s in map(folder.load, range(5)) if s["path"].endswith(f"{name}.png")) / 255.0
    close = dict(rtol=0, atol=1e-12)
    for step in range(2, int(scale) + 1):
        image = modcrop(image, step)
    y = rgb2ycbcr(image)
    low = imresize(y, 1 / int(scale))
    bicubic = imresize(low, int(scale))
    np.testing.assert_allclose(low[..., 0], resized[f"matlab/{case}/l_y"], **close)
    np.testing.assert_allclose(bicubic[::4, ::4, 0], resized[f"matlab/{case}/b_y_every4"] / 255, **close)
    np.testing.assert_allclose(ycbcr2rgb(bicubic)[::8, ::8], resized[f"matlab/{case}/b_rgb_every8"] / 255, **close)


def measured(sr, scale, **arguments):
    """[5, 2]: PSNR-Y and SSIM-Y of Set5's bicubic images."""
    metric = LumaQuality(**arguments)
    images = DegradedImages(source=ImagesOf(root=sr, folder="Set5"), scale=scale, **arguments)
    for batch in EvalLoader(images, [], EvalBatchSampler(len(images), 1)):
        metric.update(paddle.to_tensor(batch["image"]), batch)
    return np.array([[each["psnr_y"], each["ssim_y"]] for each in metric.per_image])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlabs_bicubic_figures(golden, sr, scale):
    found, arrays = measured(sr, scale, protocol="rgb_u8"), load(golden, "sr_bicubic_matlab_set5")
    np.testing.assert_allclose(found, arrays[f"x{scale}/matlab_bicubic"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "rgb_u8"])
def test_bicubic_of_every_protocol_on_set5(golden, sr, protocol, scale):
    """The first two columns of `sr_real_s0`, per image."""
    arrays = load(golden, "sr_real_s0")
    network = "vdsr_official" if protocol.endswith("clip16") else "srcnn_955_imagenet"
    expected = arrays[f"{network}_x{scale}/{protocol}"][:, :2]
    # The golden file rounds Ys that end in a half another way than MATLAB, and its Pillow rows are of float32.
    np.testing.assert_allclose(measured(sr, scale, protocol=protocol), expected, rtol=0, atol=6e-5)


@pytest.mark.parametrize("folder", ["Set5", "Set14"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlabs_low_resolution_images(sr, folder, scale):
    """All bytes of the images that older MATLAB made; the newer one's differ at the border."""
    made = ImagesOf(root=sr, folder=f"{folder}/LR_x{scale}")
    photographs = ImagesOf(root=sr, folder=folder)
    other = 0
    for index in range(len(photographs)):
        image, expected = photographs.load(index)["image"], made.load(index)["image"]
        np.testing.assert_array_equal(imresize(modcrop(image, scale), 1 / scale, border="replicate"), expected)
        other += (imresize(modcrop(image, scale), 1 / scale, border="symmetric") != expected).sum()
    assert other > 0


def test_colours_of_a_network_are_measured_on_their_luma(golden, sr):
    """The bicubic columns of an RGB network's row: 8-bit colours, their Y in 8 bits, 4 pixels left out."""
    manifest = json.loads((golden / "sr_real_s0.json").read_text())
    columns = [manifest["srgan_columns"].index(name) for name in ("psnr_bicubic_y8", "ssim_bicubic_y8")]
    expected = load(golden, "sr_real_s0")["srgan_leftthomas_x4/rgb_float_and_y8"][:, columns]
    source, arguments = ImagesOf(root=sr, folder="Set5"), {"protocol": "rgb_u8"}
    images, metric = DegradedImages(source=source, scale=4, input="lr_rgb", **arguments), LumaQuality(**arguments)
    for batch in EvalLoader(images, [], EvalBatchSampler(len(images), 1)):
        low = np.rint(255 * batch["image"][0].transpose(1, 2, 0)).astype(np.uint8)
        enlarged = imresize(low, 4, border="replicate").transpose(2, 0, 1)[None] / np.float32(255)
        metric.update(paddle.to_tensor(enlarged), batch)
    found = np.array([[each["psnr_y"], each["ssim_y"]] for each in metric.per_image])
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-5)  # Ys that end in a half, as above
