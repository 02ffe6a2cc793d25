"""The Fourier layers: both backends against numpy, the canonical form, gradients."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcore.layers import reflect_to
from ppcore.layers.fourier import amplitude_phase, compose, dft_tables, irfft2, rfft2, self_conjugate

BACKENDS = ("fft", "matmul")
SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (4, 6), (7, 1), (1, 8), (17, 25), (24, 20), (135, 12)]
sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


def random(shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gap(got, want):
    return np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)


def spectrum(height, width, seed=1, dtype="float32"):
    return random((2, 2, 3, height, width // 2 + 1), seed, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
class TestTransforms:
    @given(size=sizes)
    @settings(max_examples=25)
    def test_forward_is_numpys(self, backend, size):
        x = random((2, 3, *size))
        re, im = rfft2(paddle.to_tensor(x), backend)
        want = np.fft.rfft2(x.astype(np.float64))
        assert gap(re.numpy() + 1j * im.numpy(), want) < 2e-6

    @given(size=sizes)
    @settings(max_examples=25)
    def test_inverse_is_numpys_also_of_spectra_of_no_real_image(self, backend, size):
        re, im = spectrum(*size)
        got = irfft2(paddle.to_tensor(re), paddle.to_tensor(im), size[1], backend).numpy()
        assert gap(got, np.fft.irfft2(re + 1j * im, s=size)) < 2e-6

    @pytest.mark.parametrize("size", SIZES)
    def test_there_and_back(self, backend, size):
        x = random((1, 2, *size))
        back = irfft2(*rfft2(paddle.to_tensor(x), backend), size[1], backend)
        assert gap(back.numpy(), x) < 2e-6

    @pytest.mark.parametrize("size", [(4, 6), (5, 7), (6, 5), (1, 4)])
    def test_only_the_hermitian_part_of_the_outer_columns_counts(self, backend, size):
        height, width = size
        re, im = spectrum(*size, dtype="float64")
        mirrored = (-np.arange(height)) % height
        for column in {0, width // 2} if width % 2 == 0 else {0}:
            column = np.s_[..., column]
            re[column] = (re[column] + re[column][..., mirrored]) / 2
            im[column] = (im[column] - im[column][..., mirrored]) / 2
        plain_re, plain_im = spectrum(*size, dtype="float64")
        plain = irfft2(paddle.to_tensor(plain_re), paddle.to_tensor(plain_im), width, backend)
        symmetric = irfft2(paddle.to_tensor(re), paddle.to_tensor(im), width, backend)
        assert gap(plain.numpy(), symmetric.numpy()) < 1e-12

    @pytest.mark.parametrize("size", [(4, 6), (5, 3), (2, 2)])
    def test_gradients_are_finite_differences(self, backend, size):
        height, width = size
        weight = random((height, width), 5, "float64")
        x = random((height, width), 3, "float64")

        def value(array):
            amplitude, phase = amplitude_phase(*rfft2(array, backend))
            changed = compose(amplitude * 1.5 + 0.3, phase * 0.7 + 0.1)
            return (irfft2(*changed, width, backend) * paddle.to_tensor(weight)).sum()

        tensor = paddle.to_tensor(x, stop_gradient=False)
        value(tensor).backward()
        step, numeric = 1e-6, np.zeros_like(x)
        for place in np.ndindex(*size):
            moved = [x.copy(), x.copy()]
            moved[0][place] += step
            moved[1][place] -= step
            up, down = (float(value(paddle.to_tensor(m))) for m in moved)
            numeric[place] = (up - down) / (2 * step)
        np.testing.assert_allclose(tensor.grad.numpy(), numeric, rtol=1e-5, atol=1e-6)


class TestBackends:
    @pytest.mark.parametrize("size", SIZES)
    def test_agree(self, size):
        x = paddle.to_tensor(random((2, 3, *size)))
        (re, im), (re2, im2) = (rfft2(x, backend) for backend in BACKENDS)
        assert gap(re2.numpy() + 1j * im2.numpy(), re.numpy() + 1j * im.numpy()) < 1e-5
        a, b = (irfft2(re * 2, im + 1, size[1], backend).numpy() for backend in BACKENDS)
        assert gap(a, b) < 1e-5

    def test_tables_are_exact_for_long_axes(self):
        # cos(2πkn/N) with k·n near 230,000: float32 angles would be off by 1e-2.
        cos, sin = dft_tables(480, 480)
        k = np.arange(480)
        angle = 2 * np.pi * (np.outer(k, k) % 480) / 480
        assert np.abs(cos.numpy() - np.cos(angle)).max() < 5e-7
        assert np.abs(sin.numpy() - np.sin(angle)).max() < 5e-7


class TestCanonicalForm:
    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize(("size", "bins"), [((6, 8), 4), ((5, 8), 2), ((6, 7), 2), ((5, 7), 1), ((1, 1), 1)])
    def test_self_conjugate_bins_are_real_with_a_positive_zero(self, backend, size, bins):
        _, im = rfft2(paddle.to_tensor(random((4, 5, *size))), backend)
        real = np.outer(self_conjugate(size[0]), self_conjugate(size[1])[: size[1] // 2 + 1])
        assert real.sum() == bins
        values = im.numpy()[:, :, real]
        assert (values == 0).all()
        assert not np.signbit(values).any()

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_the_phase_of_a_negative_real_bin_is_pi(self, backend):
        x = paddle.full([1, 1, 6, 10], -0.25)  # the mean is negative: bin (0, 0)
        amplitude, phase = amplitude_phase(*rfft2(x, backend))
        assert float(amplitude[0, 0, 0, 0]) == pytest.approx(15.0)
        assert float(phase[0, 0, 0, 0]) == pytest.approx(np.pi)

    def test_raw_keeps_what_the_library_left(self):
        x = paddle.to_tensor(random((8, 16, 50, 38)))
        (_, raw), (_, canonical) = rfft2(x, raw=True), rfft2(x)
        # Real bins; where a size is no power of two, rounding leaves something in their imaginary part.
        assert np.abs(raw.numpy()[:, :, [0, 25]][:, :, :, [0, 19]]).max() > 0
        np.testing.assert_array_equal(raw.numpy()[:, :, 1:25, 1:19], canonical.numpy()[:, :, 1:25, 1:19])
        re, im = spectrum(4, 6)
        got = irfft2(paddle.to_tensor(re), paddle.to_tensor(im), 6, raw=True).numpy()
        assert gap(got, np.fft.irfft2(re + 1j * im, s=(4, 6))) < 2e-6


class TestPolarForm:
    def test_is_complex_numbers(self):
        re, im = spectrum(6, 8)
        amplitude, phase = amplitude_phase(paddle.to_tensor(re), paddle.to_tensor(im))
        np.testing.assert_allclose(amplitude.numpy(), np.abs(re + 1j * im), rtol=1e-6)
        np.testing.assert_allclose(phase.numpy(), np.angle(re + 1j * im), rtol=1e-5, atol=1e-6)
        back = compose(amplitude, phase)
        np.testing.assert_allclose(back[0].numpy(), re, atol=1e-6)
        np.testing.assert_allclose(back[1].numpy(), im, atol=1e-6)

    def test_zero_amplitude_has_zero_gradients(self):
        re, im = (paddle.to_tensor([0.0, -0.0, 3.0], stop_gradient=False) for _ in range(2))
        amplitude, phase = amplitude_phase(re, im)
        (amplitude.sum() + 2 * phase.sum()).backward()
        assert amplitude.numpy()[:2].tolist() == [0, 0] == phase.numpy()[:2].tolist()
        assert re.grad.numpy()[:2].tolist() == [0, 0] == im.grad.numpy()[:2].tolist()
        # d|z|/dre = cos, d angle/dre = -im/|z|²
        np.testing.assert_allclose(float(re.grad[2]), np.sqrt(0.5) - 2 * 3 / 18, rtol=1e-6)
        np.testing.assert_allclose(float(im.grad[2]), np.sqrt(0.5) + 2 * 3 / 18, rtol=1e-6)

    def test_an_image_of_one_colour_has_finite_gradients(self):
        x = paddle.zeros([1, 1, 8, 6])
        x.stop_gradient = False
        amplitude, phase = amplitude_phase(*rfft2(x))
        (irfft2(*compose(amplitude + 1, phase + 1), 6) ** 2).sum().backward()
        assert np.isfinite(x.grad.numpy()).all()


class TestReflection:
    @given(size=sizes, more=st.tuples(st.integers(0, 70), st.integers(0, 70)))
    @settings(max_examples=40)
    def test_is_numpys(self, size, more):
        x = random((2, 3, *size))
        (height, width), (down, right) = size, more
        got = reflect_to(paddle.to_tensor(x), height + down, width + right).numpy()
        np.testing.assert_array_equal(got, np.pad(x, ((0, 0), (0, 0), (0, down), (0, right)), mode="reflect"))
