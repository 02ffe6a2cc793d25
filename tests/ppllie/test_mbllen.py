"""MBLLEN: the network against one in numpy and scipy, sizes, layouts, and the post-processing against OpenCV's HSV."""

import cv2
import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d, correlate2d

import ppcore.weights
import ppllie
from ppcore.errors import ConfigError, WeightsError
from ppcore.reproduce.fidelity import count_parameters
from ppcore.weights import save_arrays
from ppllie.mbllen_postprocess import postprocess

TINY = dict(width=4, depth=2)


def keras_arrays(width: int, depth: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights as a file of the authors' has them, numbered by hand."""
    rng, found = np.random.default_rng(seed), {}
    quarter, half = width // 4, width // 2
    for i in range(depth):
        shapes = [(f"conv2d_{5 * i + 1}", 3, width if i else 3, width)]
        sizes = [(3, width, quarter), (5, quarter, quarter), (5, quarter, half), (5, half, width)]
        shapes += [(f"conv2d_{5 * i + 2 + j}", *size) for j, size in enumerate(sizes)]
        # Of a transposed convolution the third axis is the output's.
        sizes = [(5, half, width), (5, quarter, half), (5, 3, quarter)]
        shapes += [(f"conv2d_transpose_{3 * i + 1 + j}", *size) for j, size in enumerate(sizes)]
        for name, kernel, third, fourth in shapes:
            found[f"{name}/kernel:0"] = rng.standard_normal((kernel, kernel, third, fourth)) * 0.3
            found[f"{name}/bias:0"] = rng.standard_normal(third if "transpose" in name else fourth) * 0.1 + 0.1
    found[f"conv2d_{5 * depth + 1}/kernel:0"] = rng.standard_normal((1, 1, 3 * depth, 3))
    found[f"conv2d_{5 * depth + 1}/bias:0"] = rng.standard_normal(3) * 0.1 + 0.2
    return {name: array.astype(np.float32) for name, array in found.items()}


def reference(x: np.ndarray, arrays: dict[str, np.ndarray], depth: int) -> np.ndarray:
    """The network of an image [H, W, 3], channels last, in float64, with scipy's convolutions of planes."""

    def layer(x, name, mode):
        kernel, bias = (arrays[f"{name}/{what}:0"].astype(np.float64) for what in ("kernel", "bias"))
        if "transpose" in name:  # what each pixel spreads: true convolution, kernel (h, w, out, in)
            planes = [
                sum(convolve2d(x[..., i], kernel[:, :, o, i], "full") for i in range(x.shape[2]))
                for o in range(kernel.shape[2])
            ]
        else:
            planes = [
                sum(correlate2d(x[..., i], kernel[:, :, i, o], mode) for i in range(x.shape[2]))
                for o in range(kernel.shape[3])
            ]
        return np.maximum(np.stack(planes, -1) + bias, 0)

    results = []
    for i in range(depth):
        x = layer(x, f"conv2d_{5 * i + 1}", "same")
        y = layer(x, f"conv2d_{5 * i + 2}", "same")
        for j in range(3):
            y = layer(y, f"conv2d_{5 * i + 3 + j}", "valid")
        for j in range(3):
            y = layer(y, f"conv2d_transpose_{3 * i + 1 + j}", "full")
        results.append(y)
    return layer(np.concatenate(results, -1), f"conv2d_{5 * depth + 1}", "same")


def network(seed: int = 0, **options) -> ppllie.MBLLEN:
    model = ppllie.MBLLEN(**TINY, **options)
    state = ppcore.weights.convert(keras_arrays(4, 2, seed), source="mbllen", model=model)
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    model.eval()
    return model


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32) * np.float32(0.3)


@paddle.no_grad()
def run(model: ppllie.MBLLEN, x: np.ndarray) -> np.ndarray:
    return model(paddle.to_tensor(x)).numpy()


def test_has_the_papers_parameters():
    assert count_parameters(ppllie.MBLLEN) == 450_171


@pytest.mark.parametrize("size", [(13, 13), (20, 17)])
def test_is_the_network_in_scipy(size):
    x = image(1, 3, *size)
    want = reference(x[0].transpose(1, 2, 0), keras_arrays(4, 2), 2)
    assert (want > 0.1).mean() > 0.5, "something to compare"
    np.testing.assert_allclose(run(network(), x)[0].transpose(1, 2, 0), want, rtol=0, atol=2e-6 * want.max())


@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)))
@settings(max_examples=10, deadline=None)
def test_any_size_gives_the_same_size(size):
    y = run(network(), image(1, 3, *size))
    assert y.shape == (1, 3, *size)
    assert np.isfinite(y).all()
    assert y.min() >= 0


def test_a_small_image_is_extended_by_reflection_at_its_end():
    x = image(1, 3, 9, 20)
    extended = np.pad(x, [(0, 0), (0, 0), (0, 4), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(run(network(), x), run(network(), extended)[:, :, :9])


def test_a_pixel_sees_as_far_as_the_network_says():
    model, size = network(), 61
    for parameter in model.parameters():
        parameter.set_value(parameter.abs())  # no ReLU cuts anything
    x = image(1, 3, size, size)
    y, other = run(model, x), x.copy()
    other[:, :, size // 2, size // 2] += 0.5
    rows = np.flatnonzero(np.abs(run(model, other) - y).max(axis=(0, 1, 3)))
    assert model.reach == TINY["depth"] + 13
    assert size // 2 - rows.min() == rows.max() - size // 2 == model.reach


def test_every_parameter_is_trained():
    model = network()
    model.train()
    model(paddle.to_tensor(image(2, 3, 16, 20))).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("arguments", [{"width": 6}, {"width": 0}, {"depth": 0}, {"postprocess": "yes"}])
def test_says_what_it_does_not_take(arguments):
    with pytest.raises(ConfigError, match=f"MBLLEN: {next(iter(arguments))} is"):
        ppllie.MBLLEN(**arguments)


class TestLayout:
    def test_both_ways(self, tmp_path):
        arrays, model = keras_arrays(4, 2, seed=3), ppllie.MBLLEN(**TINY)
        save_arrays(tmp_path / "keras.safetensors", arrays)
        ppcore.weights.load(model, tmp_path / "keras.safetensors", source="mbllen")
        ppcore.weights.save(model, tmp_path / "back.safetensors", "mbllen")
        back = ppcore.weights.read(tmp_path / "back.safetensors")
        assert set(back) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array, err_msg=name)

    def test_names_what_is_missing(self):
        arrays = keras_arrays(4, 2)
        del arrays["conv2d_transpose_5/bias:0"]
        with pytest.raises(WeightsError, match=r"missing branches\.1\.deconvs\.1\.bias"):
            ppcore.weights.convert(arrays, source="mbllen", model=ppllie.MBLLEN(**TINY))


def released(y: np.ndarray) -> np.ndarray:
    """The post-processing of an image [H, W, 3] step by step, with numpy's percentiles and OpenCV's HSV."""

    def luma(y):
        return 0.299 * y[..., 0] + 0.587 * y[..., 1] + 0.114 * y[..., 1]

    y = y.astype(np.float64)
    gray = luma(y)
    if (gray >= 0.8).sum() / (gray <= 1.0).sum() < 0.05:
        y = np.minimum(y * (0.8 / np.percentile(gray, 95)), 1.0)
    low = np.percentile(luma(y), 5)
    y = (y - low) / (1.0 - low)
    hsv = cv2.cvtColor(y[..., ::-1].astype(np.float32), cv2.COLOR_BGR2HSV)
    hsv[..., 1] = hsv[..., 1] ** 0.8
    return np.minimum(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[..., ::-1], 1.0)


class TestPostprocess:
    # Dark; with 8 % of bright pixels, and some beyond 1.
    DARK = image(24, 31, 3) + np.float32(0.02)
    BRIGHT = np.where(np.random.default_rng(5).random((24, 31, 1)) < 0.08, np.float32(0.95), DARK) * np.float32(1.1)

    @pytest.mark.parametrize(
        "y", [DARK, BRIGHT, DARK[:1, :7], DARK[:, :, ::-1].copy()], ids=["dark", "bright", "few", "blue"]
    )
    def test_is_the_scripts(self, y):
        got = postprocess(paddle.to_tensor(y.transpose(2, 0, 1)[None])).numpy()[0].transpose(1, 2, 0)
        np.testing.assert_allclose(got, released(y), rtol=0, atol=1e-5)

    def test_its_branches_are_two(self):
        gains = [released(y).mean() / y.mean() for y in (self.DARK, self.BRIGHT)]
        assert gains[0] > 2 > 1 > gains[1]

    def test_each_image_is_on_its_own(self):
        pair = np.stack([self.DARK, self.BRIGHT]).transpose(0, 3, 1, 2)
        both = postprocess(paddle.to_tensor(pair)).numpy()
        for one, alone in zip(both, pair, strict=True):
            np.testing.assert_allclose(one, postprocess(paddle.to_tensor(alone[None])).numpy()[0], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("value", [0.0, 1.0, 1.5])
    def test_where_the_script_divides_by_nothing_nothing_breaks(self, value):
        flat = paddle.full([1, 3, 14, 14], value)
        np.testing.assert_allclose(postprocess(flat).numpy(), np.minimum(flat.numpy(), 1.0))

    def test_is_of_evaluation_alone(self):
        plain, processed = network(), network(postprocess="released")
        x = image(1, 3, 20, 24)
        want = released(run(plain, x)[0].transpose(1, 2, 0)).transpose(2, 0, 1)
        np.testing.assert_allclose(run(processed, x)[0], want, rtol=0, atol=2e-5)
        processed.train()
        np.testing.assert_array_equal(run(processed, x), run(plain, x))
