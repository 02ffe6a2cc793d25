"""The classical methods: each against its definition, every size, and real dark photographs."""

import cv2
import numpy as np
import paddle
import pytest
import scipy.sparse
import scipy.sparse.linalg

from ppcore.config import components
from ppcore.errors import ConfigError
from ppcore.metrics.psnr_ssim import psnr
from ppllie import classical
from ppllie.classical.filters import gaussian, guided_filter
from ppllie.classical.lime import _SMALL, _gradient, _weight, refine

METHODS = {
    "identity": classical.Identity,
    "gamma": classical.Gamma,
    "equalised luma": classical.HistogramEqualization,
    "equalised channels": lambda: classical.HistogramEqualization(planes="channels"),
    "clahe": classical.CLAHE,
    "dark channel": classical.DarkChannel,
    "ssr": lambda: classical.Retinex(scales=[80]),
    "msr": classical.Retinex,
    "msrcr": lambda: classical.Retinex(color_restoration=True),
    "lime": classical.LIME,
}


def picture(height=60, width=80, seed=0):
    """A smooth 8-bit scene with an edge, dark: [H, W, 3] float32."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.random((4, 5, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    scene[:, width // 2 :] *= 0.3
    return (np.rint(np.clip(0.3 * scene, 0, 1) * 255) / 255).astype("float32")


def applied(method, image):
    return method(paddle.to_tensor(image.transpose(2, 0, 1)[None])).numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", METHODS)
def test_any_size_any_content(name):
    method = METHODS[name]()
    assert (method.makes_images, method.needs_weights, method.state_dict()) == (True, False, {})
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 7), (9, 1), (2, 3), (5, 130), (33, 17)]:
        for content in (rng.random((2, 3, height, width)), np.zeros((1, 3, height, width)), np.ones((1, 3, 8, 8))):
            y = method(paddle.to_tensor(content.astype("float32")))
            assert y.shape == list(content.shape)
            assert y.dtype == paddle.float32
            assert np.isfinite(y.numpy()).all()
            assert 0 <= y.numpy().min() <= y.numpy().max() <= 1


@pytest.mark.parametrize("name", METHODS)
def test_images_of_a_batch_do_not_see_each_other(name):
    method, images = METHODS[name](), [picture(seed=1), picture(seed=2)]
    together = method(paddle.to_tensor(np.stack(images).transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_array_equal(together[1].transpose(1, 2, 0), applied(method, images[1]))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"identity"}))
def test_brightens(name):
    image = picture()
    assert applied(METHODS[name](), image).mean() > image.mean() * (1.2 if name == "clahe" else 1.5)


def test_gamma_is_a_power():
    np.testing.assert_allclose(applied(classical.Gamma(gamma=2), picture()), np.sqrt(picture()), atol=1e-6)


def test_equalisation_is_opencvs_on_8_bits():
    image = picture()
    stored = np.rint(image * 255).astype(np.uint8)
    want = np.stack([cv2.equalizeHist(np.ascontiguousarray(stored[..., c])) for c in range(3)], axis=-1)
    got = applied(classical.HistogramEqualization(planes="channels"), image)
    assert np.abs(got * 255 - want).max() <= 0.51


def test_equalisation_keeps_16_bit_levels_apart():
    levels = np.arange(3000, 3000 + 64 * 64, dtype=np.float32).reshape(64, 64, 1).repeat(3, axis=2) / 65535
    assert len(np.unique(applied(classical.HistogramEqualization(planes="channels"), levels))) == 64 * 64


@pytest.mark.parametrize("method", [classical.HistogramEqualization, classical.CLAHE])
def test_on_luma_keeps_chroma(method):
    image = picture()
    got = method().enhance(image)  # before clamping
    np.testing.assert_allclose(got - got[..., :1], image - image[..., :1], atol=1e-5)


def test_clahe_is_opencvs_on_8_bits():
    image = picture()
    plane = np.ascontiguousarray(np.rint(image[..., 0] * 255).astype(np.uint8))
    want = cv2.createCLAHE(3.0, (8, 8)).apply(plane)
    got = applied(classical.CLAHE(clip_limit=3.0, planes="channels"), image)[..., 0]
    np.testing.assert_allclose(got * 255, want, atol=1e-3)


def test_a_wide_gaussian_is_the_direct_one():
    image = np.random.default_rng(0).random((300, 400)).astype("float32")
    image[100:180, 50:200] += 2
    direct = cv2.GaussianBlur(image, (0, 0), 40, borderType=cv2.BORDER_REFLECT)
    assert np.abs(gaussian(image, 40) - direct).max() < 0.01 * (image.max() - image.min())


def test_guided_filter_smooths_noise_and_keeps_the_edge():
    rng = np.random.default_rng(0)
    guide = np.zeros((40, 60), np.float32)
    guide[:, 30:] = 1
    smooth = guided_filter(guide, (guide + 0.2 * rng.standard_normal(guide.shape)).astype("float32"), 6, 1e-4)
    assert np.abs(smooth - guide).max() < 0.08
    np.testing.assert_allclose(guided_filter(guide, guide, 6, 1e-9), guide, atol=1e-3)


def test_dark_channel_undoes_the_haze_it_assumes():
    # A negative made by the model, airlight 0.9 and transmission 0.7 everywhere, over dark pixels here and there.
    scene = np.random.default_rng(0).random((60, 60, 3)).astype("float32")
    scene[::5, ::5] = 0
    scene[:15, :15] = 0.9
    negative = 0.7 * scene + 0.3 * 0.9
    method = classical.DarkChannel(omega=1.0, patch=7)
    got = 1 - method.enhance(1 - negative)
    before, after = (np.abs(image - scene)[25:, 25:].mean() for image in (negative, got))
    assert after < 0.2 * before


def test_retinex_is_its_definition():
    image = picture()
    levels = image.astype(np.float64) * 255 + 1
    want = np.mean([np.log(levels / cv2.GaussianBlur(levels, (0, 0), s, borderType=2)) for s in (3, 7)], axis=0)
    want = want * np.log(1 + 125 * levels / levels.sum(axis=2, keepdims=True))
    low, high = np.quantile(want, [0.02, 0.98], axis=(0, 1))
    got = applied(classical.Retinex(scales=[3, 7], color_restoration=True, clip=0.02), image)
    np.testing.assert_allclose(got, np.clip((want - low) / (high - low), 0, 1), atol=1e-4)


def test_limes_illumination_is_the_minimum():
    guess = picture(40, 50, seed=3).max(axis=2)
    size, index = guess.size, np.arange(guess.size).reshape(guess.shape)
    down, across = (0.15 * _weight(d) / (np.abs(d) + _SMALL) for d in (g.astype(np.float64) for g in _gradient(guess)))
    rows = [index[:-1].ravel(), index[:, :-1].ravel()]
    columns = [index[1:].ravel(), index[:, 1:].ravel()]
    i, j = np.concatenate(rows), np.concatenate(columns)
    w = np.concatenate([down[:-1].ravel(), across[:, :-1].ravel()])
    edges = scipy.sparse.coo_matrix((np.r_[w, w, -w, -w], (np.r_[i, j, i, j], np.r_[i, j, j, i])), (size, size))
    exact = scipy.sparse.linalg.spsolve((scipy.sparse.eye(size) + edges).tocsc(), guess.ravel().astype(np.float64))
    got = refine(guess, 0.15)
    assert np.abs(got.ravel() - exact).mean() < 0.03 * guess.std()
    assert np.abs(guess.ravel() - exact).mean() > 0.1 * guess.std()  # there was something to do
    np.testing.assert_array_equal(classical.LIME(alpha=0.0, gamma=1.0).enhance(np.full((4, 4, 3), 0.2, "float32")), 1)


def test_better_than_nothing_on_real_dark_photographs(real_data):
    folder = real_data / "lowlight_paired"
    if not folder.is_dir():
        pytest.skip(f"no lowlight_paired in {real_data}")
    low, high = (
        cv2.imread(str(folder / side / "horse.png"))[..., ::-1].astype("float32") / 255 for side in ("low", "high")
    )
    raw = psnr(low, high)
    gains = {name: psnr(applied(METHODS[name](), low), high) - raw for name in METHODS}
    assert gains.pop("identity") == pytest.approx(0, abs=1e-5)
    assert min(gains.values()) > 1, gains


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "ppllie.classical.Gamma", "gamma": 0.0}, "gamma"),
        ({"name": "ppllie.classical.CLAHE", "tiles": 0}, "tiles"),
        ({"name": "ppllie.classical.Retinex", "scales": []}, "scales"),
        ({"name": "ppllie.classical.DarkChannel", "omega": 1.5}, "omega"),
        ({"name": "ppllie.classical.LIME", "gamma": -1.0}, "gamma"),
        ({"name": "ppllie.classical.HistogramEqualization", "planes": "value"}, "planes"),
    ],
)
def test_bad_arguments_are_one_line(node, message):
    def configured():
        components.check(node, "Arch")
        return components.build(node)

    with pytest.raises(ConfigError, match=message) as raised:
        configured()
    assert "\n" not in str(raised.value)
