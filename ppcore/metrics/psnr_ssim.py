"""PSNR and SSIM of images, in float64, with every convention an argument.

The same pair of images gets SSIM 0.02 apart by window, colour space and border, and PSNR 1 dB by
rounding: a number without its convention says little. Images are arrays [H, W, C] or [H, W]; the
conventions are scikit-image's and the papers', to 1e-6.
"""

from typing import Literal

import cv2
import numpy as np

from ppcore.errors import DataError

GAUSSIAN = (11, 1.5)  # window and sigma (Wang et al. 2004)
UNIFORM = 7  # window (scikit-image's default)
K1, K2 = 0.01, 0.03  # of the data range, squared: the constants that keep flat windows stable
IDENTICAL_DB = 100.0  # what an image without any error counts in a mean of PSNRs

FULL = (0.299, 0.587, 0.114)  # BT.601 luma of R, G, B
_STUDIO = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # the same within 16..235 of 255


def psnr(image: np.ndarray, target: np.ndarray, *, data_range: float = 1.0) -> float:
    """10 · log10(data_range² / mean squared error) in dB over all pixels and channels; inf without any error.

    Raises:
        DataError: the images differ in size.
    """
    image, target = _pair(image, target)
    error = float(np.mean((image - target) ** 2))
    return float("inf") if error == 0.0 else float(20.0 * np.log10(data_range) - 10.0 * np.log10(error))


def ssim(
    image: np.ndarray,
    target: np.ndarray,
    *,
    window: Literal["gaussian", "uniform"] = "gaussian",
    border: Literal["crop", "reflect", "zeros"] = "crop",
    data_range: float = 1.0,
) -> float:
    """Structural similarity (Wang et al. 2004), the mean over the map and then over the channels.

    Args:
        image: [H, W, C] or [H, W].
        target: likewise.
        window: `gaussian`, 11×11 with sigma 1.5 and biased moments (the paper of SSIM), or `uniform`, 7×7
            with the covariance of a sample, N / (N - 1) (scikit-image's default).
        border: `crop`: only windows that lie inside the image count. `reflect`: the image is mirrored,
            edge pixels included. `zeros`: it is surrounded by zeros (as in many a training loss).
        data_range: of the pixels.

    Raises:
        DataError: the images differ in size, or with `crop` are smaller than the window.
    """
    image, target = _pair(image, target)
    size = GAUSSIAN[0] if window == "gaussian" else UNIFORM
    if border == "crop" and min(image.shape[:2]) < size:
        raise DataError(f"SSIM needs an image of {size}x{size} pixels or more, not {_size(image)}")
    channels = [(image, target)] if image.ndim == 2 else list(zip(_planes(image), _planes(target), strict=True))
    pad = size // 2 if border == "crop" else 0
    # A channel at a time: an image of 4K has 66 MB a map, and several are alive at once.
    maps = (_ssim_map(x, y, window, border, data_range) for x, y in channels)
    return float(np.mean([m[pad : m.shape[0] - pad, pad : m.shape[1] - pad].mean() for m in maps]))


def luma(image: np.ndarray, *, studio: bool = False) -> np.ndarray:
    """BT.601 luma [H, W] of RGB [H, W, 3] in [0, 1]: in [0, 1], or `studio` in [16/255, 235/255]."""
    image = np.asarray(image, np.float64)
    return image @ np.array(_STUDIO) + 16 / 255 if studio else image @ np.array(FULL)


def round_to_8_bits(image: np.ndarray) -> np.ndarray:
    """What an 8-bit file keeps of an image in [0, 1]: clamped, and the nearest of 256 steps; float64 in [0, 1]."""
    return np.rint(np.clip(np.asarray(image, np.float64), 0.0, 1.0) * 255.0) / 255.0


def truncate_to_8_bits(image: np.ndarray) -> np.ndarray:
    """What a cast to bytes keeps of an image in [0, 1]: the step below, of 256; float64 in [0, 1].

    The product with 255 is float32, as in the tools that cast.
    """
    scaled = np.clip(np.asarray(image, np.float32), np.float32(0), np.float32(1)) * np.float32(255)
    return np.floor(scaled).astype(np.float64) / 255.0


def luma_8_bits(image: np.ndarray) -> np.ndarray:
    """8-bit gray [H, W] of RGB [H, W, 3] in [0, 1], as OpenCV makes it of the colours rounded to 8 bits; in [0, 1]."""
    colours = np.rint(np.clip(np.asarray(image, np.float64), 0.0, 1.0) * 255.0)
    if np.isnan(colours).any():  # bytes know no such thing
        return np.full(colours.shape[:2], np.nan)
    return cv2.cvtColor(colours.astype(np.uint8), cv2.COLOR_RGB2GRAY) / 255.0


def match_mean(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scales an RGB image by mean luma of the target over its own, and clamps it to [0, 1] ("GT-mean").

    Some papers on low light do this before measuring. It reads the brightness, half of the task, off
    the reference: never compare such a number with one without it. An image that is black stays so.
    """
    image = np.asarray(image, np.float64)
    own = luma(image).mean()
    return np.clip(image * (luma(target).mean() / own), 0.0, 1.0) if own > 0.0 else np.clip(image, 0.0, 1.0)


def _pair(image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, target = np.asarray(image, np.float64), np.asarray(target, np.float64)
    if image.shape != target.shape:
        raise DataError(f"an image of {_size(image)} cannot be measured against one of {_size(target)}")
    return image, target


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))


def _planes(image: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(image[..., c]) for c in range(image.shape[2])]


def _ssim_map(x: np.ndarray, y: np.ndarray, window: str, border: str, data_range: float) -> np.ndarray:
    kernel, unbias = _kernel(window)
    mode = cv2.BORDER_CONSTANT if border == "zeros" else cv2.BORDER_REFLECT

    def mean(plane: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel, borderType=mode)

    mean_x, mean_y = mean(x), mean(y)
    var_x = (mean(x * x) - mean_x**2) * unbias
    var_y = (mean(y * y) - mean_y**2) * unbias
    covariance = (mean(x * y) - mean_x * mean_y) * unbias
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (var_x + var_y + c2)


def _kernel(window: str) -> tuple[np.ndarray, float]:
    """One axis of the window, and what turns its biased moments into the convention's."""
    if window == "uniform":
        return np.full(UNIFORM, 1 / UNIFORM), UNIFORM**2 / (UNIFORM**2 - 1)
    if window != "gaussian":
        raise ValueError(f"window must be 'gaussian' or 'uniform', not {window!r}")
    size, sigma = GAUSSIAN
    weights = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
    return weights / weights.sum(), 1.0
