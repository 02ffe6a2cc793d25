"""The dark photographs obey their documented physics and are the same where they must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from ppcore.config.components import build, check
from ppcore.data import PairedRandomCrop, PairToFloat, TrainBatchSampler, TrainLoader
from ppcore.data.datasets.darkened import DarkenedFolder, DarkenedPhotographs
from ppcore.data.transforms.darken import Darken, GammaDarken, LowLight, darken, linear_to_srgb, srgb_to_linear
from ppcore.errors import ConfigError, DataError

EXPECTED = [25, 23, 24, 22, 23, 26]


def flat(value, dtype=np.uint8, size=200):
    return np.full((size, size, 3), value, dtype)


def rng():
    return np.random.default_rng(0)


# ---- the model ----


@given(st.floats(0, 1))
def test_srgb_inverts(value):
    assert linear_to_srgb(srgb_to_linear(np.float64(value))) == pytest.approx(value, abs=2e-5)


def test_srgb_values():
    # IEC 61966-2-1: middle grey of 8 bits, the end of the linear part, both ends.
    np.testing.assert_allclose(srgb_to_linear(np.array([0, 0.04045, 128 / 255, 1])), [0, 0.0031308, 0.2158605, 1], 1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_noise_it_is_exposure_and_gamma(dtype):
    """With very many electrons and no reading noise the steps are a formula."""
    levels = np.linspace(0, np.iinfo(dtype).max, 256).astype(dtype)
    image = np.broadcast_to(levels[:, None, None], (256, 4, 3))
    got = darken(image, rng(), LowLight(stops=3.0, full_well=1e12, read_noise=0.0, gamma=1.2))
    linear = srgb_to_linear(levels / np.iinfo(dtype).max) / 8
    want = np.rint(255 * linear_to_srgb(linear) ** 1.2)
    np.testing.assert_allclose(got[:, 0, 0], want, atol=1e-6)
    assert got.dtype == np.uint8
    same = darken(image, rng(), LowLight(stops=0.0, full_well=1e12, read_noise=0.0, gamma=1.0))
    np.testing.assert_array_equal(same[:, 0, 0], np.rint(levels / np.iinfo(dtype).max * 255))


@pytest.mark.parametrize(("stops", "full_well", "read_noise"), [(1.0, 4000.0, 0.0), (2.0, 2000.0, 10.0)])
def test_noise_is_poisson_and_gaussian(stops, full_well, read_noise):
    """Mean and variance of the electrons found again from the picture: variance = mean + read_noise²."""
    picture = darken(flat(220), rng(), LowLight(stops, full_well, read_noise, 1.0))
    electrons = srgb_to_linear(picture / 255) * full_well
    mean = srgb_to_linear(np.float64(220 / 255)) * full_well / 2**stops
    assert electrons.mean() == pytest.approx(mean, rel=0.005)
    # Rounding to 8 bits adds its own variance, a twelfth of a step squared.
    level = picture.mean() / 255
    step = full_well * (srgb_to_linear(level + 0.5 / 255) - srgb_to_linear(level - 0.5 / 255))
    assert electrons.var() == pytest.approx(mean + read_noise**2 + step**2 / 12, rel=0.03)


def test_noise_is_independent():
    picture = darken(flat(200), rng(), LowLight(3.0, 1000.0, 5.0, 1.0)).astype(float)
    picture -= picture.mean()
    for shifted in (np.roll(picture, 1, 0), np.roll(picture, 1, 1), np.roll(picture, 1, 2)):
        assert abs((picture * shifted).mean()) < 0.02 * picture.var()


def test_strips_do_not_repeat():
    picture = darken(flat(128, size=600), rng(), LowLight(3.0, 1000.0, 3.0, 1.0))
    assert not np.array_equal(picture[:256], picture[256:512])


def test_black_stays_nearly_black():
    picture = darken(flat(0), rng(), LowLight(3.0, 2000.0, 2.0, 1.0))
    assert picture.min() == 0
    assert picture.mean() < 3


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_darkened_is_darker(seed):
    image = np.random.default_rng(seed).integers(30, 256, (40, 40, 3)).astype(np.uint8)
    generator = np.random.default_rng(seed)
    assert darken(image, generator, Darken().draw(generator)).mean() < 0.75 * image.mean()


# ---- the transform ----


def sample(path="a/b.png"):
    return {"image": None, "target": flat(100, size=8), "path": path}


def test_a_seed_fixes_the_image_by_its_name():
    fixed = Darken(seed=1)
    first = fixed(sample(), rng())["image"]
    np.testing.assert_array_equal(first, fixed(sample("elsewhere/b.png"), np.random.default_rng(5))["image"])
    assert not np.array_equal(first, fixed(sample("a/c.png"), rng())["image"])
    assert not np.array_equal(first, Darken(seed=2)(sample(), rng())["image"])
    # The same with every numpy: measured numbers depend on it.
    assert first.reshape(-1)[:6].tolist() == EXPECTED


def test_without_seed_every_sample_differs():
    generator = rng()
    first, second = (Darken()(sample(), generator)["image"] for _ in range(2))
    assert not np.array_equal(first, second)


def test_ranges():
    darkening = Darken(stops=[1, 2], full_well=[500, 5000], read_noise=[3, 3], gamma=[0.9, 1.1])
    generator = rng()
    drawn = np.array([darkening.draw(generator) for _ in range(2000)])
    assert (drawn.min(0) >= [1, 500, 3, 0.9]).all()
    assert (drawn.max(0) <= [2, 5000, 3, 1.1]).all()
    assert np.median(drawn[:, 1]) == pytest.approx(500 * 10**0.5, rel=0.1)  # uniform in the logarithm
    assert drawn[:, 0].mean() == pytest.approx(1.5, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"stops": [3, 2]}, "stops"),
        ({"stops": [-1, 2]}, "stops"),
        ({"full_well": [0, 10]}, "full_well"),
        ({"read_noise": [1]}, "read_noise"),
        ({"gamma": [0, 1]}, "gamma"),
        ({"gamma": [1, float("inf")]}, "gamma"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ConfigError, match=f"Darken: {match} is"):
        Darken(**arguments)


def test_bad_samples():
    with pytest.raises(ConfigError, match="samples have no target"):
        Darken()({"image": flat(1), "label": 0}, rng())
    with pytest.raises(ConfigError, match="float32 pixels"):
        Darken()({"target": np.zeros((3, 8, 8), np.float32)}, rng())


# ---- the datasets ----


def test_darkened_photographs():
    train, test = DarkenedPhotographs(), DarkenedPhotographs(split="test")
    assert (len(train), len(test), train.classes, train.num_classes) == (5, 3, None, 0)
    again = DarkenedPhotographs(split="test")
    for number in range(len(test)):
        first = test.load(number)
        np.testing.assert_array_equal(first["image"], again.load(number)["image"])
        assert first["image"].shape == first["target"].shape
        assert 5 < peak_signal_noise_ratio(first["target"], first["image"]) < 15  # real pairs are near 8
    other = DarkenedPhotographs(split="test", darken=Darken(seed=1))
    assert not np.array_equal(other.load(0)["image"], test.load(0)["image"])
    with pytest.raises(ConfigError, match="needs a seed"):
        DarkenedPhotographs(darken=Darken())


def test_from_a_configuration():
    nodes = [
        {
            "name": "ppcore.data.DarkenedPhotographs",
            "split": "test",
            "darken": {"name": "ppcore.data.Darken", "stops": [2, 3], "seed": 4},
        },
        {"name": "ppcore.data.PairedRandomCrop", "size": 64},
        {"name": "ppcore.data.Darken", "stops": [2.0, 3.5]},
        {"name": "ppcore.data.PairToFloat"},
    ]
    for node in nodes:
        check(node, "Train")
    dataset, *transforms = map(build, nodes)
    batches = list(TrainLoader(dataset, transforms, [], 0, TrainBatchSampler(3, 3, 0, total_steps=2)))
    assert batches[1]["image"].shape == batches[1]["target"].shape == (3, 3, 64, 64)
    assert batches[1]["image"].mean() < 0.5 * batches[1]["target"].mean()


def test_darkened_folder(tmp_path):
    for name, value in (("a.png", 90), ("b/c.png", 180)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(flat(value, size=50)).save(tmp_path / name)
    dataset = DarkenedFolder(root=str(tmp_path))
    assert len(dataset) == 2
    first = dataset.load(1)
    np.testing.assert_array_equal(first["target"].read(), flat(180, size=50))
    assert first["image"].shape == (50, 50)
    np.testing.assert_array_equal(first["image"].read(), dataset.load(1)["image"].read())
    window = first["image"].read((5, 6, 7, 8))
    np.testing.assert_array_equal(window, first["image"].read((5, 6, 7, 8)))
    assert window.mean() == pytest.approx(first["image"].read().mean(), rel=0.15)  # the same exposure
    crop = PairedRandomCrop(size=16)(first, rng())
    assert PairToFloat()(Darken()(crop, rng()))["image"].shape == (3, 16, 16)
    with pytest.raises(ConfigError, match="needs a seed"):
        DarkenedFolder(root=str(tmp_path), darken=Darken())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        DarkenedFolder(root=str(tmp_path / "empty"))


class TestGammaDarken:
    def test_is_a_power_for_each_colour(self):
        image = np.stack([np.arange(256, dtype=np.uint8)] * 3, -1)[None]
        gamma = np.random.default_rng(3).uniform(2.0, 3.5, size=3)
        assert np.ptp(gamma) > 0.2
        got = GammaDarken(peak=None).dark(image, np.random.default_rng(3))
        np.testing.assert_array_equal(got, np.rint(255 * (image / 255) ** gamma))
        wide = GammaDarken(peak=None).dark(image.astype(np.uint16) * 257, np.random.default_rng(3))
        np.testing.assert_array_equal(wide, got)

    def test_noise_is_that_of_so_many_photons(self):
        image = np.full((300, 300, 3), 180, np.uint8)
        got = GammaDarken(gamma=(1.0, 1.0), peak=200.0).dark(image, rng()) / 255
        assert got.mean() == pytest.approx(180 / 255, rel=2e-3)
        assert got.var() == pytest.approx(180 / 255 / 200, rel=2e-2)  # counts have their mean as variance

    def test_photographs_are_darkened_once_for_a_test(self):
        first, again = (DarkenedPhotographs(split="test", darken=GammaDarken(seed=s)).load(0) for s in (0, 0))
        np.testing.assert_array_equal(first["image"], again["image"])
        assert first["image"].mean() < 0.7 * first["target"].mean()

    @pytest.mark.parametrize("arguments", [{"gamma": (3, 2)}, {"gamma": (0, 2)}, {"peak": 0.0}, {"seed": -1}])
    def test_says_what_it_does_not_take(self, arguments):
        with pytest.raises(ConfigError, match=f"GammaDarken: {next(iter(arguments))} is"):
            GammaDarken(**arguments)
