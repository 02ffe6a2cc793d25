"""PSNR-Y and SSIM-Y by protocol: against scikit-image, what is left out, what the numbers are called, what is refused."""

import numpy as np
import paddle
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ppcore.config import components, roles
from ppcore.errors import ConfigError, DataError
from ppcore.metrics.psnr_ssim import luma
from ppsr import LumaQuality
from ppsr.sr_protocols import PROTOCOLS, Making, protocol_of

GAUSSIAN = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


@pytest.fixture(scope="module")
def pair():
    """(output, reference) Y float32 [1, 1, H, W]; the output leaves [0, 1]."""
    rng = np.random.default_rng(5)
    target = rng.integers(16, 236, (1, 1, 40, 52)) / np.float32(255)
    return (target + 0.2 * rng.standard_normal(target.shape)).astype("float32"), target


def batch_of(target, protocol="matlab_y8_replicate", scale=3, **changes):
    making = protocol_of(protocol, **changes).making
    return {"target": target, "scale": np.array([scale]), "protocol": np.array([making.fingerprint])}


def measured(pair, scale=3, **arguments):
    metric = LumaQuality(**arguments)
    changes = {k: v for k, v in arguments.items() if k in Making.__dataclass_fields__}
    metric.update(paddle.to_tensor(pair[0]), batch_of(pair[1], metric.name, scale, **changes))
    return metric.compute()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_against_scikit_image(pair, protocol, scale):
    image, target = (255 * np.asarray(side[0, 0], np.float64) for side in pair)
    image = image.clip(0, 255)
    if "8_" in protocol or protocol == "rgb_u8":
        image, target = np.round(image), np.round(target)
    ring = 0 if protocol == "pil_nocrop" else scale
    image, target = (side[ring : 40 - ring, ring : 52 - ring] for side in (image, target))
    found = measured(pair, scale, protocol=protocol)
    assert found["psnr_y"] == pytest.approx(peak_signal_noise_ratio(target, image, data_range=255), abs=1e-6)
    assert found["ssim_y"] == pytest.approx(structural_similarity(target, image, data_range=255, **GAUSSIAN), abs=1e-7)


def test_colours_are_measured_on_their_y(pair):
    rng = np.random.default_rng(1)
    target = rng.integers(0, 256, (1, 3, 30, 30)) / np.float32(255)
    image = (target + 0.1 * rng.standard_normal(target.shape)).astype("float32")
    planes = [luma(side[0].transpose(1, 2, 0).clip(0, 1), studio=True) for side in (image, target)]
    planes = [plane[4:-4, 4:-4] for plane in planes]
    expected = peak_signal_noise_ratio(planes[1], planes[0], data_range=1)
    assert measured((image, target), 4, protocol="lr_u8")["psnr_y"] == pytest.approx(expected, abs=1e-6)
    image = np.rint(image.clip(0, 1) * 255) / 255
    planes = [np.rint(255 * luma(side[0].transpose(1, 2, 0), studio=True))[4:-4, 4:-4] for side in (image, target)]
    expected = peak_signal_noise_ratio(planes[1], planes[0], data_range=255)
    assert measured((image, target), 4, protocol="rgb_u8")["psnr_y"] == pytest.approx(expected, abs=1e-3)


def test_the_border_that_is_left_out(pair):
    spoilt = pair[0].copy()
    spoilt[..., :3, :] = spoilt[..., -3:, :] = spoilt[..., :, :3] = spoilt[..., :, -3:] = 0
    assert measured((spoilt, pair[1]), 3) == measured(pair, 3)
    assert measured((spoilt, pair[1]), 2) != measured(pair, 2)
    assert measured((spoilt, pair[1]), 3, shave=0)["psnr_y_shave0"] < measured(pair, 3, shave=0)["psnr_y_shave0"]


def test_names_and_descriptions(pair):
    assert measured(pair, key="imagenet").keys() == {"n", "psnr_y_imagenet", "ssim_y_imagenet"}
    assert measured(pair, shave=4, border="symmetric", y8=False, metrics=["psnr"]).keys() == {
        "n",
        "psnr_y_symmetric_y8off_shave4",
    }
    assert measured(pair, clip16=True, y="full").keys() >= {"psnr_y_yfull_clip16"}
    metric = LumaQuality(protocol="pil_nocrop", key="theirs")
    assert metric.primary_metric == "psnr_y_theirs"
    for words in ("protocol pil_nocrop (theirs): reference RESIZED", "64.738 for 65.738", "Pillow", "0 px shaved"):
        assert words in metric.describe()
    assert "scale px shaved" in LumaQuality().describe()
    assert "protocol float_y, changed: " in LumaQuality(protocol="float_y", shave=1).describe()
    assert len({LumaQuality(protocol=name).describe().partition(": ")[2] for name in PROTOCOLS}) == len(PROTOCOLS)
    assert len({protocol.making.fingerprint for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"protocol": "matlab_y8"}, "must be one of matlab_y8_replicate"),
        ({"metrics": ["lpips"]}, "psnr and ssim"),
        ({"metrics": []}, "psnr and ssim"),
        ({"shave": -1}, "0 or more"),
        ({"enlarged": "rgb"}, "no colours to enlarge"),
        ({"resizer": "pillow"}, "8-bit colours"),
        ({"border": "wrap"}, "symmetric"),
        ({"key": "Two words"}, "small letters"),
    ],
)
def test_what_is_refused(arguments, match):
    with pytest.raises(ConfigError, match=match) as error:
        LumaQuality(**arguments)
    assert "\n" not in str(error.value)


def test_batches_that_are_refused(pair):
    image, target = paddle.to_tensor(pair[0]), pair[1]
    with pytest.raises(ConfigError, match="use it with ppsr"):
        LumaQuality().update(image, {"target": target})
    two = batch_of(target)
    two["scale"] = np.array([2, 3])
    with pytest.raises(ConfigError, match=r"scales \[2, 3\]"):
        LumaQuality().update(image, two)
    with pytest.raises(ConfigError, match="give both the same"):
        LumaQuality(protocol="float_y").update(image, batch_of(target))
    with pytest.raises(DataError, match="nothing"):
        LumaQuality(shave=30).update(image, batch_of(target))
    with pytest.raises(DataError, match="references"):
        LumaQuality().update(paddle.to_tensor(pair[0][..., 1:]), batch_of(target))


def test_it_can_be_named_in_a_configuration():
    roles.allow("ppsr")
    try:
        node = {"name": "ppsr.LumaQuality", "protocol": "lr_u8", "shave": 4}
        components.check(node, "Metric", roles.METRIC)
        assert components.build(node).specs[0].key == "psnr_y_shave4"
        source = {"name": "ppcore.data.Photographs", "split": "test"}
        node = {"name": "ppsr.DegradedImages", "source": source, "scale": 3, "protocol": "lr_u8"}
        components.check(node, "DataLoader.Eval.dataset", roles.DATASET)
        assert len(components.build(node)) == 3
        node = {"name": "ppsr.SubImages", "source": source, "scale": [2, 3], "size": 41, "stride": 41}
        components.check(node, "DataLoader.Train.dataset", roles.DATASET)
        assert components.build(node).load(0)["image"].shape == (1, 41, 41)
        components.check({"name": "ppsr.RandomPatch", "size": 24}, "DataLoader.Train.transforms.patch", roles.TRANSFORM)
        components.check({"name": "ppsr.Bicubic", "scale": 3}, "Arch", roles.NETWORK)
        with pytest.raises(ConfigError, match="split"):
            components.check({**node, "source": {**source, "split": 4}}, "DataLoader.Train.dataset", roles.DATASET)
    finally:
        roles.disallow_all()
