"""Predictors and the memory of arrays: any layout of the input gives what a plain copy of it gives, results stay as they were."""

import importlib.util

import numpy as np
import paddle
import pytest

import ppvit
from ppcore.deploy import Predictor, export_model
from ppcore.deploy.engine_choice import ENGINES
from ppcore.errors import DataError
from ppuhdfour import UHDFour

ONNX = importlib.util.find_spec("paddle2onnx") is not None
USABLE = [
    name for name, (module, *_) in ENGINES.items() if importlib.util.find_spec(module) and (name == "paddle" or ONNX)
]
FORMATS = ["onnx", "paddle"] if ONNX else ["paddle"]
SIDE = 64


def photograph(seed=0, batch=1):
    return np.random.default_rng(seed).random((batch, SIDE, SIDE, 3), np.float32)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def with_border(x):
    """`x` cut out of a larger array."""
    larger = np.full((len(x) + 1, 4, SIDE + 6, SIDE + 8), np.nan, np.float32)
    larger[1:, :3, 2 : 2 + SIDE, 5 : 5 + SIDE] = x
    return larger[1:, :3, 2 : 2 + SIDE, 5 : 5 + SIDE]


def every_second(x):
    larger = np.full((len(x), 3, SIDE * 2, SIDE * 2), np.nan, np.float32)
    larger[:, :, ::2, ::2] = x
    return larger[:, :, ::2, ::2]


# Each gives an array equal to its argument [B, 3, H, W], laid out otherwise.
LAYOUTS = {
    "channels last": lambda x: x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "one image, a channel axis moved, a batch axis added": lambda x: x[0].transpose(1, 2, 0).copy().transpose(2, 0, 1)[None],
    "Fortran order": np.asfortranarray,
    "cut out": with_border,
    "every second pixel": every_second,
    "mirrored": lambda x: x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1],
    "BGR turned to RGB": lambda x: x[:, ::-1].copy()[:, ::-1],
    "read-only": read_only,
    "read-only and strided": lambda x: read_only(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "one row for all": lambda x: np.broadcast_to(x, x.shape),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    paddle.seed(0)
    models = {
        "classifier": ppvit.VisionTransformer(img_size=SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=9),
        # Without its Fourier branch: rounding, which may follow the alignment of an array, is not amplified.
        "images": UHDFour(scale=4, extract=4, widths=[4, 8, 12], fusion=4, fourier=False, adjust="residual"),
    }  # fmt: skip
    root = tmp_path_factory.mktemp("memory")
    return {name: export_model(model, root / name, FORMATS) for name, model in models.items()}


@pytest.fixture(scope="module", params=[(e, kind) for e in USABLE for kind in ("classifier", "images")], ids="-".join)
def predictor(request, folders):
    engine, kind = request.param
    return Predictor(folders[kind], engine, threads=1)


@pytest.fixture
def junk():
    """Allocates and fills blocks of the sizes in use, so that whatever was freed is overwritten."""

    def fill():
        return [np.full(n, 1e30, np.float32) for n in (3 * SIDE * SIDE, 3 * SIDE * SIDE // 4, 9) for _ in range(8)]

    return fill


def same(y, expected):
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_the_input_does_not_matter(predictor, layout, junk):
    for seed in range(3):
        x = np.ascontiguousarray(photograph(seed).transpose(0, 3, 1, 2))
        expected = predictor(x.copy())
        for _ in range(4):
            given = LAYOUTS[layout](x)
            np.testing.assert_array_equal(given, x)
            junk()
            same(predictor(given), expected)


def test_as_readme_does_many_times(predictor, junk):
    """`hwc.transpose(…)`, made anew for each call and dropped after it."""
    images = [photograph(seed, batch=2) for seed in range(5)]
    expected = [predictor(np.ascontiguousarray(image.transpose(0, 3, 1, 2))) for image in images]
    for _ in range(8):
        for image, y in zip(images, expected, strict=True):
            kept = junk()
            same(predictor(image.transpose(0, 3, 1, 2)), y)
            del kept


def test_later_calls_leave_earlier_results_and_inputs_alone(predictor, junk):
    inputs = [photograph(seed).transpose(0, 3, 1, 2) for seed in range(6)]
    before = [x.copy() for x in inputs]
    results = [predictor(x) for x in inputs]
    copies = [y.copy() for y in results]
    for x in inputs:
        junk()
        predictor(x + np.float32(0.1))
    for y, copy in zip(results, copies, strict=True):
        np.testing.assert_array_equal(y, copy)
        assert y.flags.writeable
    for x, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, copy)
    results[0][...] = 7
    same(predictor(inputs[0]), copies[0])


def test_the_input_may_change_after_the_call(predictor):
    x = np.ascontiguousarray(photograph().transpose(0, 3, 1, 2))
    y = predictor(x)
    copy = y.copy()
    x[...] = np.nan
    np.testing.assert_array_equal(y, copy)


@pytest.mark.parametrize("kind", ["float64", "float16", ">f4", "uint8"])
def test_another_type_is_refused_by_one_line_that_says_how_to_convert(predictor, kind):
    with pytest.raises(DataError, match=r"float32 array.*astype") as caught:
        predictor(photograph().transpose(0, 3, 1, 2).astype(kind))
    assert "\n" not in str(caught.value)
