"""RandAugment, RandomErasing and 3-Augment: pixels against Pillow, arguments, errors."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps
from skimage import data

from benchmarks import pillow_pipeline
from ppcore.config import components
from ppcore.data import Normalize, RandAugment, RandomErasing, ThreeAugment
from ppcore.data.transforms import image_ops, warp
from ppcore.data.transforms.random_operations import OPERATIONS, Operation
from ppcore.errors import ConfigError

FILL = np.array([124, 116, 104], np.uint8)
ARGUMENTS = {
    "AutoContrast": [None],
    "Equalize": [None],
    "Invert": [None],
    "Posterize": [0, 1, 2, 4, 8],
    "Solarize": [0, 26, 128, 255, 256],
    "SolarizeAdd": [0, 1, 99, 110],
    **{
        name: [0.1, 0.19, 0.5, 0.999, 1.0, 1.37, 1.81, 1.9] for name in ("Color", "Contrast", "Brightness", "Sharpness")
    },
}


def rng(*key):
    return np.random.default_rng(key or 0)


def photo(size=224):
    return cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_AREA)


def images():
    """Colour, dull, flat, constant, odd-sized and grey."""
    picture = photo()
    return {
        "photo": picture,
        "dull": picture // 3 + 40,
        "two values": (picture[:64, :64] > 128).astype(np.uint8) * 7 + 3,
        "constant": np.full((9, 17, 3), (0, 77, 255), np.uint8),
        "odd": data.coffee()[:101:2, :67],
        "tiny": rng(1).integers(0, 256, (2, 5, 3), dtype=np.uint8),
        "grey": picture[:, :, :1].copy(),
    }


def as_picture(image):
    return Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])


@pytest.mark.parametrize("kind", images())
@pytest.mark.parametrize("name", ARGUMENTS)
def test_value_operations_equal_pillow(name, kind):
    image = images()[kind]
    before = image.copy()
    for argument in ARGUMENTS[name]:
        arguments = [] if argument is None else [argument]
        expected = np.asarray(pillow_pipeline.VALUE_OPERATIONS[name](as_picture(image), *arguments))
        got = RandAugment().apply(image, Operation(name, argument, "bicubic"))
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected.reshape(image.shape), err_msg=f"{name} {argument}")
        np.testing.assert_array_equal(image, before)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 2**32))
def test_histogram_operations_equal_pillow(rows, columns, low, seed):
    """Small images have steps of 0 and look-ups above 255."""
    image = rng(seed).integers(low, 256, (rows, columns, 3), dtype=np.uint8)
    for ours, pillow in ((image_ops.auto_contrast, ImageOps.autocontrast), (image_ops.equalize, ImageOps.equalize)):
        np.testing.assert_array_equal(ours(image), np.asarray(pillow(Image.fromarray(image))))


GEOMETRY = {
    "ShearX": [-0.3, -0.27, 0.1, 0.3],
    "ShearY": [-0.3, 0.27],
    "TranslateXRel": [-0.45, -0.4, 0.013, 0.45],
    "TranslateYRel": [-0.399, 0.45],
}


def pillow_geometry(name, image, argument, kernel):
    resample = Image.Resampling[kernel.upper()]
    fill = tuple(int(v) for v in FILL) if image.shape[2] == 3 else 117  # the fill's luma
    operation = pillow_pipeline.GEOMETRIC_OPERATIONS[name]
    return np.asarray(operation(as_picture(image), argument, resample=resample, fillcolor=fill)).reshape(image.shape)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", GEOMETRY)
def test_shear_and_translation_are_pillows(name, kernel):
    """At most one grey level, in at most 4 % of the values: Pillow's float64 truncates n - 1e-13 to n - 1.

    (A bilinear translation by 89.6 pixels makes whole numbers often; without those it is below 0.3 %.)
    """
    for image in (photo(), photo()[:101, :67], photo()[:, :150, :1]):
        before = image.copy()
        for argument in GEOMETRY[name]:
            got = RandAugment().apply(image, Operation(name, argument, kernel)).astype(int)
            difference = np.abs(got - pillow_geometry(name, image, argument, kernel))
            assert difference.max() <= 1
            assert np.mean(difference > 0) < 0.04, (argument, image.shape)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_flat_images_stay_flat(kernel):
    """Truncated sums of weights must not lose a level: not one of 256 levels, 60 shears and 60 angles."""
    levels = np.arange(256, dtype=np.uint8)
    for amount in np.linspace(-0.3, 0.3, 60):
        for level in levels[::17]:
            flat = np.full((48, 40, 1), level)
            fill = np.array([level])
            assert (warp.shear_x(flat, amount, fill, kernel) == level).all()
            assert (warp.rotate(flat, 100 * amount, fill, kernel) == level).all()
        every_row = np.repeat(levels[:, None, None], 40, axis=1)
        sheared = warp.translate_x(every_row, amount, np.array([0], np.uint8), kernel)
        inside = sheared[1:, :, 0].all(axis=0)
        assert (sheared[:, inside] == every_row[:, inside]).all()


@pytest.mark.parametrize(("kernel", "mean", "far"), [("bilinear", 0.15, 0.002), ("bicubic", 0.8, 0.03)])
@pytest.mark.parametrize("degrees", [-30.0, -13.0, 0.0, 5.5, 27.0])
def test_rotation_is_nearly_pillows(degrees, kernel, mean, far):
    """Mean difference in grey levels, and share of values more than 4 levels off (edges of the fill included)."""
    for image in (photo(), photo()[:101, :167], photo()[:, :150, :1]):
        got = RandAugment().apply(image, Operation("Rotate", degrees, kernel)).astype(int)
        difference = np.abs(got - pillow_geometry("Rotate", image, degrees, kernel))
        assert difference.mean() < mean
        assert np.mean(difference > 4) < far


def test_directions_and_fill():
    """By hand: which way each goes, and what comes in from outside."""
    image = np.arange(1, 26, dtype=np.uint8).reshape(5, 5, 1)
    fill = np.array([200], np.uint8)
    one_right = warp.translate_x(image, 0.2, fill, "bilinear")[:, :, 0]
    np.testing.assert_array_equal(one_right, np.column_stack([image[:, 1:, 0], [200] * 5]))
    two_up = warp.translate_y(image, -0.4, fill, "bicubic")[:, :, 0]
    np.testing.assert_array_equal(two_up, np.vstack([np.full((2, 5), 200), image[:3, :, 0]]))
    sheared = warp.shear_x(image, 2.0, fill, "bicubic")[:, :, 0]  # row 0 by 1 column, row 1 by 3, …
    np.testing.assert_array_equal(sheared[:2], [[2, 3, 4, 5, 200], [9, 10, 200, 200, 200]])
    assert (sheared[2:] == 200).all()
    quarter = warp.rotate(image, 90.0, fill, "bilinear")[:, :, 0]
    np.testing.assert_array_equal(quarter, np.rot90(image[:, :, 0]))


def test_arguments_grow_with_the_magnitude():
    """The arguments at magnitudes 9 and 10, by hand, for both sets of levels."""
    expected = {
        "Rotate": ([-27.0, 27.0], [-30.0, 30.0]),
        "Posterize": ([1], [0]),
        "Solarize": ([26], [0]),
        "SolarizeAdd": ([99], [110]),
        "Color": ([0.19, 1.81], [0.1, 1.9]),
        "Contrast": ([0.19, 1.81], [0.1, 1.9]),
        "Brightness": ([0.19, 1.81], [0.1, 1.9]),
        "Sharpness": ([0.19, 1.81], [0.1, 1.9]),
        "ShearX": ([-0.27, 0.27], [-0.3, 0.3]),
        "ShearY": ([-0.27, 0.27], [-0.3, 0.3]),
        "TranslateXRel": ([-0.405, 0.405], [-0.45, 0.45]),
        "TranslateYRel": ([-0.405, 0.405], [-0.45, 0.45]),
    }
    for place, magnitude in enumerate((9, 10)):
        found = arguments(RandAugment(magnitude=magnitude, magnitude_std=0.0))
        assert set(found) == set(OPERATIONS)
        for name in ("AutoContrast", "Equalize", "Invert"):
            assert found.pop(name) == {None}
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert sorted(found[name]) == pytest.approx(values[place]), name
    first_policy = arguments(RandAugment(magnitude=9, magnitude_std=0.0, increasing=False))
    assert first_policy["Posterize"] == {3}
    assert first_policy["Solarize"] == {230}
    assert list(first_policy["Contrast"]) == pytest.approx([1.72])
    assert sorted(first_policy["ShearY"]) == pytest.approx([-0.27, 0.27])


def arguments(transform):
    """The arguments that 600 images' draws give, by operation."""
    found = {}
    for seed in range(600):
        for operation in transform.draw(rng(2, seed)):
            found.setdefault(operation.name, set()).add(operation.argument)
    return found


def test_rand_augment_is_its_operations_in_order():
    image, transform = photo(64), RandAugment(num_ops=3, prob=1.0)
    for seed in range(40):
        expected = image
        drawn = transform.draw(rng(seed))
        assert len(drawn) == 3
        for operation in drawn:
            expected = transform.apply(expected, operation)
        got = transform(image, rng(seed))
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(got, transform(image, rng(seed)))
        assert got.shape == image.shape
        assert got.flags.c_contiguous
    assert len({transform(image, rng(seed)).tobytes() for seed in range(40)}) > 35
    assert RandAugment(prob=0.0)(image, rng()) is image


def test_one_channel_and_interpolation():
    grey = photo(64)[:, :, :1]
    transform = RandAugment(prob=1.0, interpolation="random")
    kernels = set()
    for seed in range(60):
        assert transform(grey, rng(seed)).shape == grey.shape
        kernels |= {operation.kernel for operation in transform.draw(rng(seed))}
    assert kernels == {"bilinear", "bicubic"}
    assert {o.kernel for s in range(60) for o in RandAugment(prob=1.0).draw(rng(s))} == {"bicubic"}
    assert RandAugment(fill=[7]).apply(photo(), Operation("TranslateXRel", 0.45, "bicubic"))[0, -1].tolist() == [
        7,
        7,
        7,
    ]


def test_three_augment():
    """One of three, each with Pillow's pixels; the blur within one level of Pillow's six roundings for 92 %."""
    image = photo(96)
    picture = Image.fromarray(image)
    grey = np.stack([np.asarray(picture.convert("L"))] * 3, -1)
    solar = np.asarray(ImageOps.solarize(picture))
    seen = set()
    for seed in range(40):
        got = ThreeAugment()(image, rng(seed))
        which = "grey" if np.array_equal(got, grey) else "solar" if np.array_equal(got, solar) else "blur"
        seen.add(which)
        if which == "blur":
            generator = rng(seed)
            generator.integers(3)
            sigma = generator.uniform(0.1, 2.0)
            expected = np.asarray(picture.filter(ImageFilter.GaussianBlur(sigma)))[8:-8, 8:-8].astype(int)
            difference = np.abs(got[8:-8, 8:-8] - expected)
            assert np.mean(difference > 1) < 0.08
            assert difference.max() <= 4
            assert difference.mean() < 0.6
    assert seen == {"grey", "solar", "blur"}
    assert ThreeAugment()(image[:, :, :1], rng(3)).shape == (96, 96, 1)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 1.9, 2.0, 4.0])
def test_blur_has_the_variance(sigma):
    kernel = image_ops._box_gaussian(sigma).astype(float)
    place = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel.min() >= 0
    assert (kernel * place**2).sum() == pytest.approx(sigma**2, rel=1e-5)


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
@pytest.mark.parametrize("channels", [1, 3])
def test_random_erasing(mode, channels):
    image = np.full((channels, 40, 50), 7, np.float32)
    erase = RandomErasing(prob=1.0, mode=mode, count=1)
    for seed in range(30):
        got = erase(image, rng(seed))
        assert got.dtype == np.float32
        assert (image == 7).all()
        np.testing.assert_array_equal(got, erase(image, rng(seed)))
        ((top, left, height, width),) = erase.boxes(40, 50, rng(seed))
        inside = np.zeros((40, 50), bool)
        inside[top : top + height, left : left + width] = True
        assert (got[:, ~inside] == 7).all()
        values = got[:, inside]
        different = len(np.unique(values))  # of n draws from 65,536 values, n^2 / 131,072 coincide
        assert different == {"pixel": pytest.approx(values.size, rel=0.05), "rand": channels, "const": 1}[mode]
        assert mode != "const" or (values == 0).all()
    assert RandomErasing(prob=0.0)(image, rng()) is image


def test_several_boxes_and_none_that_fits():
    many = RandomErasing(prob=1.0, count=3)
    counts = [len(many.boxes(100, 100, rng(seed))) for seed in range(300)]
    assert set(counts) == {1, 2, 3}
    for seed in range(100):
        boxes = many.boxes(100, 100, rng(seed))
        assert sum(h * w for _, _, h, w in boxes) <= 100 * 100 / 3 * 1.1  # count shares the area; sides are rounded
    assert RandomErasing(prob=1.0, area=(1.0, 1.0)).boxes(8, 8, rng()) == []


def test_boxes_reach_every_edge():
    """A box of 2x2 in an image of 8x9 stands at each of its 7x8 places, and nowhere else."""
    erase = RandomErasing(prob=1.0, area=(4 / 72, 4 / 72), min_aspect=1.0)
    places = {erase.boxes(8, 9, rng(seed))[0] for seed in range(1500)}
    assert places == {(top, left, 2, 2) for top in range(7) for left in range(8)}


def test_deit3_simple_random_crop():
    """Resize the shorter side, then crop from 4 pixels of reflection: the existing transforms say it."""
    recipe = [
        {"name": "ppcore.data.Resize", "size": 64, "interpolation": "bicubic"},
        {"name": "ppcore.data.RandomCrop", "size": 64, "padding": 4, "padding_mode": "reflect"},
    ]
    resize, crop = (components.build(step) for step in recipe)
    image = data.coffee()  # 400 x 600
    small = np.asarray(Image.fromarray(image).resize((96, 64), Image.Resampling.BICUBIC))
    padded = np.pad(small, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    places = set()
    for seed in range(200):
        generator = rng(5, seed)
        got = crop(resize(image, generator), generator)
        assert got.shape == (64, 64, 3)
        match = cv2.matchTemplate(padded, np.ascontiguousarray(got), cv2.TM_SQDIFF)
        top, left = np.unravel_index(match.argmin(), match.shape)
        np.testing.assert_array_equal(padded[top : top + 64, left : left + 64], got)
        places.add((top, left))
    tops, lefts = zip(*places, strict=True)
    assert set(tops) == set(range(9))
    assert (min(lefts), max(lefts)) <= (1, 39)
    assert max(lefts) >= 39


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "ppcore.data.RandAugment", "magnitude": 11}, "magnitude is 11"),
        ({"name": "ppcore.data.RandAugment", "magnitude_std": -0.5}, "magnitude_std"),
        ({"name": "ppcore.data.RandAugment", "num_ops": 0}, "num_ops"),
        ({"name": "ppcore.data.RandAugment", "prob": 1.5}, "prob is 1.5"),
        ({"name": "ppcore.data.RandAugment", "fill": [1, 2]}, "fill"),
        ({"name": "ppcore.data.RandAugment", "fill": [1, 2, 300]}, "fill"),
        ({"name": "ppcore.data.RandAugment", "interpolation": "nearest"}, "interpolation"),
        ({"name": "ppcore.data.RandAugment", "magnitud": 9}, "did you mean 'magnitude'"),
        ({"name": "ppcore.data.RandAugment", "increasing": 1}, "increasing"),
        ({"name": "ppcore.data.RandomErasing", "prob": -0.1}, "prob is -0.1"),
        ({"name": "ppcore.data.RandomErasing", "mode": "noise"}, "mode"),
        ({"name": "ppcore.data.RandomErasing", "area": [0.4, 0.3]}, "area"),
        ({"name": "ppcore.data.RandomErasing", "area": [0.0, 0.3]}, "area"),
        ({"name": "ppcore.data.RandomErasing", "min_aspect": 1.2}, "min_aspect"),
        ({"name": "ppcore.data.RandomErasing", "count": 0}, "count"),
        ({"name": "ppcore.data.ThreeAugment", "threshold": 257}, "threshold"),
        ({"name": "ppcore.data.ThreeAugment", "sigma": [2.0, 0.1]}, "sigma"),
    ],
)
def test_wrong_arguments(step, message):
    def load():
        components.check(step, "recipe.yaml")
        components.build(step)

    with pytest.raises(ConfigError, match=message):
        load()


def test_recipe_builds_and_wants_its_order():
    steps = [
        {"name": "ppcore.data.RandAugment", "magnitude": 9, "magnitude_std": 0.5, "num_ops": 2, "prob": 0.5,
         "increasing": True, "fill": [124, 116, 104]},
        {"name": "ppcore.data.Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"name": "ppcore.data.RandomErasing", "prob": 0.25, "mode": "pixel", "area": [0.02, 0.3333333333333333],
         "min_aspect": 0.3, "count": 1},
    ]  # fmt: skip
    for step in steps:
        components.check(step, "recipe.yaml")
    augment, normalize, erase = (components.build(step) for step in steps)
    generator, image = rng(4), photo()
    result = erase(normalize(augment(image, generator), generator), generator)
    assert result.shape == (3, 224, 224)
    assert result.dtype == np.float32
    with pytest.raises(ConfigError, match="put it after Normalize"):
        erase(image, generator)
    assert isinstance(normalize, Normalize)
