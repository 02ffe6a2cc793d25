"""The paper's two observations, drawn on given pairs: what amplitude and phase carry, and what survives reduction.

Both functions take pairs (low, reference), float32 RGB [H, W, 3] in [0, 1], draw the first and
measure all. They return `rows` of panels {caption, image uint8 [H, W, 3]} and `text`, the measured
means. `papers/uhdfour.yaml` names them.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ppcore.photo.panels import enlarged, grey, to_bytes

Pair = tuple[np.ndarray, np.ndarray]
# Immerkær 1996, "Fast noise variance estimation": the difference of two Laplacians, blind to edges and slopes.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def swap(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Exchanges the Fourier amplitudes of a dark photograph and its reference (the paper's motivation).

    Brightness should go with the amplitude; noise, relative to the brightness, with the phase.
    """
    versions = [_swapped(*pair) for pair in pairs]
    names = ("low", "reference", "amplitude of the reference, phase of low", "amplitude of low, phase of the reference")
    panels = [
        {"caption": f"{name}: {_facts(image)}", "image": to_bytes(image)}
        for name, image in zip(names, versions[0], strict=True)
    ]
    means = np.array([[(_luminance(image), _relative_noise(image)) for image in each] for each in versions])
    light, noise = np.median(means[..., 0], axis=0), np.median(means[..., 1], axis=0)
    text = "; ".join(
        f"{name}: luminance {luminance:.3f}, noise over luminance {relative:.3f}"
        for name, luminance, relative in zip(names, light, noise, strict=True)
    )
    return {"rows": [{"label": "", "panels": panels}], "text": f"Medians over {len(pairs)} test pairs: {text}."}


def scales(pairs: Sequence[Pair], factor: int = 8) -> dict[str, Any]:
    """Sets amplitude and phase of a reference beside those of the same photograph `factor` times smaller.

    Frequencies are compared relative to each image's own Nyquist frequency, as the spectra look side by side.
    """
    rows = []
    large = pairs[0][1]
    for name, image in (("the reference", large), (f"{factor} times smaller", _smaller(large, factor))):
        amplitude, phase = _spectrum(image)
        size = large.shape[1::-1]
        panels = [
            {"caption": f"{name}, {image.shape[1]} × {image.shape[0]}", "image": enlarged(to_bytes(image), size)},
            {"caption": "logarithm of its amplitude", "image": enlarged(grey(np.log1p(amplitude)), size)},
            {"caption": "its phase", "image": enlarged(grey(phase), size)},
        ]
        rows.append({"label": "", "panels": panels})
    alike = np.array([_alike(reference, factor) for _, reference in pairs])
    amplitude, phase = np.median(alike, axis=0)
    text = (
        f"Median correlation over {len(pairs)} references between a spectrum and that of the {factor} times smaller "
        f"photograph: logarithm of the amplitude {amplitude:.3f}, phase {phase:.3f}."
    )
    return {"rows": rows, "text": text}


def _swapped(low: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, ...]:
    dark, light = (np.fft.rfft2(image.astype(np.float64), axes=(0, 1)) for image in (low, reference))

    def mixed(amplitude: np.ndarray, phase: np.ndarray) -> np.ndarray:
        spectrum = np.abs(amplitude) * np.exp(1j * np.angle(phase))
        return np.fft.irfft2(spectrum, s=low.shape[:2], axes=(0, 1)).clip(0, 1).astype(np.float32)

    return low, reference, mixed(light, dark), mixed(dark, light)


def _luminance(image: np.ndarray) -> float:
    return float((image @ _LUMA).mean())


def _relative_noise(image: np.ndarray) -> float:
    """Standard deviation of the noise over the mean, both of luma."""
    luma = image @ _LUMA
    response = cv2.filter2D(luma, -1, _NOISE)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) * np.abs(response).mean() / 6 / max(luma.mean(), 1e-6))


def _facts(image: np.ndarray) -> str:
    return f"luminance {_luminance(image):.3f}, noise over luminance {_relative_noise(image):.3f}"


def _smaller(image: np.ndarray, factor: int) -> np.ndarray:
    height, width = (max(side // factor, 1) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _spectrum(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude and phase of luma, zero frequency in the middle."""
    spectrum = np.fft.fftshift(np.fft.fft2((image @ _LUMA).astype(np.float64)))
    return np.abs(spectrum), np.angle(spectrum)


def _alike(image: np.ndarray, factor: int) -> tuple[float, float]:
    """Correlation of the log amplitudes, and of the phases, of an image and its smaller version."""
    small = _smaller(image, factor)
    correlations = []
    for large_map, small_map, reduction in (
        (np.log1p(_spectrum(image)[0]), np.log1p(_spectrum(small)[0]), cv2.INTER_AREA),
        (_spectrum(image)[1], _spectrum(small)[1], cv2.INTER_NEAREST),  # a mean of phases would be no phase
    ):
        large_map = cv2.resize(large_map, small_map.shape[::-1], interpolation=reduction)
        correlations.append(float(np.corrcoef(large_map.ravel(), small_map.ravel())[0, 1]))
    return correlations[0], correlations[1]
