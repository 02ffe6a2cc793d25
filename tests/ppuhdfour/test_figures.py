"""The figures show what they say: brightness goes with the amplitude, amplitudes survive reduction, phases do not."""

import cv2
import numpy as np
import pytest

from ppuhdfour import figures


@pytest.fixture(scope="module")
def pairs():
    """Smooth made-up scenes; the dark ones are a fifth as bright, with noise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3):
        reference = cv2.GaussianBlur(rng.random((96, 136, 3)).astype(np.float32), (0, 0), 3)
        reference = (reference - reference.min()) / np.ptp(reference)
        low = (reference * 0.2 + 0.02 * rng.standard_normal(reference.shape)).clip(0, 1).astype(np.float32)
        found.append((low, reference))
    return found


def test_the_exchange_keeps_each_amplitude(pairs):
    low, reference = pairs[0]
    _, _, bright, dark = figures._swapped(low, reference)
    assert bright.mean() == pytest.approx(reference.mean(), abs=0.02)
    assert dark.mean() == pytest.approx(low.mean(), abs=0.02)
    again = figures._swapped(reference, reference)[2]
    np.testing.assert_allclose(again, reference, atol=1e-5)


def test_noise_is_estimated_and_slopes_are_not_noise():
    rng = np.random.default_rng(1)
    slope = np.repeat(np.linspace(0.3, 0.7, 200, dtype=np.float32)[None], 200, axis=0)[..., None].repeat(3, axis=2)
    assert figures._relative_noise(slope) < 1e-5
    noisy = slope + 0.05 * rng.standard_normal((200, 200, 1)).astype(np.float32)
    assert figures._relative_noise(noisy) == pytest.approx(0.05 / 0.5, rel=0.05)


def test_panels_and_words(pairs):
    for figure, rows, width in ((figures.swap, 1, 4), (figures.scales, 2, 3)):
        found = figure(pairs)
        assert [len(row["panels"]) for row in found["rows"]] == [width] * rows
        for row in found["rows"]:
            for panel in row["panels"]:
                assert panel["image"].shape == (96, 136, 3)
                assert panel["image"].dtype == np.uint8
        assert "over 3" in found["text"]


def test_amplitudes_of_two_scales_are_alike_where_the_scene_is():
    """A scene that looks the same at every scale (1/f spectrum) against one of white noise."""
    rng = np.random.default_rng(2)
    fy, fx = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
    spectrum = np.fft.fft2(rng.standard_normal((256, 256))) / np.maximum(np.hypot(fx, fy), 1 / 256) ** 1.5
    scene = np.fft.ifft2(spectrum).real
    scene = ((scene - scene.min()) / np.ptp(scene)).astype(np.float32)[..., None].repeat(3, axis=2)
    amplitude, phase = figures._alike(scene, 8)
    assert amplitude > 0.5
    assert abs(phase) < 0.2
