"""The factored transform and the bilinear matrices against numpy."""

import numpy as np
import paddle
import pytest

from ppcore.layers.bilinear import bilinear_matrix
from ppcore.layers.dft import DFT2D, amplitude_phase

SIZES = [(1, 1), (2, 1), (1, 2), (3, 5), (13, 1), (9, 16), (15, 6), (36, 34), (67, 60), (48, 54)]


def size(value):
    return paddle.to_tensor(value, dtype="int64")


def transform(width, height):
    return DFT2D(size(width), size(height))


def flat(x):
    return paddle.to_tensor(np.ascontiguousarray(x, "float32").reshape(-1, x.shape[-1]))


@pytest.mark.parametrize(("width", "height"), SIZES)
class TestDFT2D:
    def test_equals_numpy(self, width, height):
        x = np.random.default_rng(0).standard_normal((2, width, height, 3)).astype("float32")
        dft = transform(width, height)
        re, im = (dft.natural(part).numpy() for part in dft.forward(flat(x)))
        wanted = np.fft.fft2(x.astype("float64"), axes=(1, 2))[:, : width // 2 + 1]
        assert np.abs(re + 1j * im - wanted).max() < 1e-6 * np.abs(wanted).max()

    def test_is_exactly_real_at_the_self_conjugate_bins(self, width, height):
        x = np.random.default_rng(1).standard_normal((1, width, height, 2)).astype("float32")
        dft = transform(width, height)
        imaginary = dft.natural(dft.forward(flat(x))[1]).numpy()
        columns = [k for k in {0, width // 2} if 2 * k % width == 0]
        rows = [k for k in {0, height // 2} if 2 * k % height == 0]
        assert not imaginary[:, columns][:, :, rows].any()

    def test_inverse_of_any_spectrum_equals_numpy(self, width, height):
        rng = np.random.default_rng(2)
        shape = (2, width // 2 + 1, height, 3)
        re, im = rng.standard_normal(shape), rng.standard_normal(shape)
        dft = transform(width, height)
        y = dft.inverse(*(dft.slots(flat(part)) for part in (re, im))).numpy().reshape(2, width, height, 3)
        wanted = np.fft.irfft(np.fft.ifft(re + 1j * im, axis=2), n=width, axis=1)
        assert np.abs(y - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_a_size_with_factors_is_not_one_large_product():
    dft = transform(480, 270)
    assert [int(n) for n in (dft.w1, dft.w2, dft.h1, dft.h2)] == [48, 10, 18, 15]


def test_amplitude_and_phase_of_every_quadrant_and_of_zeros():
    re = np.array([1, 1, -1, -1, 2, -3, 0, 0, 0, -0.0], "float32")
    im = np.array([1, -1, 1, -1, 0, 0, 2, -2, 0, -0.0], "float32")
    amplitude, phase = amplitude_phase(paddle.to_tensor(re), paddle.to_tensor(im))
    np.testing.assert_allclose(amplitude.numpy(), np.hypot(re, im), rtol=1e-6)
    np.testing.assert_allclose(phase.numpy(), np.arctan2(im + 0.0, re + 0.0), atol=1e-6)


def test_a_negative_zero_is_no_turn():
    _, phase = amplitude_phase(paddle.to_tensor([-1.0]), paddle.to_tensor([-0.0]))
    assert phase.item() == pytest.approx(np.pi)


@pytest.mark.parametrize(("before", "after"), [(67, 135), (1, 8), (60, 120), (5, 3), (7, 7)])
def test_bilinear_matrix_interpolates_between_pixel_centres(before, after):
    x = np.random.default_rng(0).standard_normal(before).astype("float32")
    wanted = np.interp((np.arange(after) + 0.5) * before / after - 0.5, np.arange(before), x)
    np.testing.assert_allclose(bilinear_matrix(size(before), size(after)).numpy() @ x, wanted, atol=1e-6)
