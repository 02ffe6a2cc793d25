"""Structural similarity as a loss: what `psnr_ssim.ssim` measures, with gradients."""

from functools import cache
from typing import Literal

import numpy as np
import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError
from ppcore.metrics.psnr_ssim import GAUSSIAN, K1, K2

_TILE = 32  # side; the halo of smaller tiles costs more than their shorter products save
_REACH = GAUSSIAN[0] // 2  # of the window, in every direction


def ssim_loss(x: paddle.Tensor, y: paddle.Tensor, *, border: Literal["zeros", "crop"] = "zeros") -> paddle.Tensor:
    """1 - SSIM of images [B, C, H, W] in [0, 1], as a scalar.

    Gaussian window 11×11, sigma 1.5, biased moments; the mean over every position, channel and image. With `zeros` the
    images are surrounded by zeros; with `crop` only windows that lie inside them count.

    Raises:
        ConfigError: `crop` of images smaller than the window.

    A variance is a small difference of two moments. Each tile of the images is therefore measured from its own
    mean, which changes no variance and makes the moments small: then rounding as coarse as TF32's does no harm.
    """
    counted = _counted(*x.shape[2:], border).astype(x.dtype)
    values = float(counted.sum()) * x.shape[0] * x.shape[1]
    with paddle.no_grad():
        inside = _inner(
            _tiles(paddle.ones([1, 1, *x.shape[2:]], x.dtype))
        )  # 1 on the image, 0 where the last tiles leave it
        y = _tiles(y)
        centre = _inner(y).sum(axis=[2, 3], keepdim=True) / inside.sum(axis=[2, 3], keepdim=True)
        y = y - centre
        mean_y, yy = _window_means([y, y * y])
    x = _tiles(x) - centre
    mean_x, xx, xy = _window_means([x, x * x, x * y])
    variances, covariance = xx - mean_x * mean_x + yy - mean_y * mean_y, xy - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    c1, c2 = K1**2, K2**2
    similarity = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return ((1.0 - similarity) * _inner(_tiles(counted))).sum() / values


def _counted(height: int, width: int, border: str) -> paddle.Tensor:
    """1 where a window counts, else 0: [1, 1, H, W]."""
    rim = _REACH if border == "crop" else 0
    if min(height, width) <= 2 * rim:
        size = GAUSSIAN[0]
        raise ConfigError(f"SSIM needs training crops of {size}x{size} pixels or more, not {height}x{width}")
    return F.pad(paddle.ones([1, 1, height - 2 * rim, width - 2 * rim]), [rim] * 4)


def _tiles(x: paddle.Tensor) -> paddle.Tensor:
    """[B, C, H, W] -> [B·C, tiles, t + 10, t + 10]: tiles of side t with what their windows reach, zeros outside."""
    height, width = x.shape[2:]
    side = _TILE + 2 * _REACH
    rest = [_REACH + -height % _TILE, _REACH + -width % _TILE]
    x = x.reshape([-1, 1, height, width])
    x = F.unfold(x, side, strides=_TILE, paddings=[_REACH, _REACH, *rest])  # [B·C, side², tiles]
    return x.reshape([0, side, side, -1]).transpose([0, 3, 1, 2])


def _inner(tiles: paddle.Tensor) -> paddle.Tensor:
    """The tiles without what lies around them: [..., t, t]."""
    return tiles[:, :, _REACH:-_REACH, _REACH:-_REACH]


def _window_means(tiles: list[paddle.Tensor]) -> list[paddle.Tensor]:
    """Gaussian means of [..., t + 10, t + 10] -> [..., t, t].

    As products with band matrices from both sides: for training crops several times faster on a CPU
    than convolutions of one channel.
    """
    band = paddle.to_tensor(_band()).astype(tiles[0].dtype)
    return paddle.matmul(paddle.matmul(band, paddle.stack(tiles)), band, transpose_y=True).unbind(0)


@cache
def _band() -> np.ndarray:
    """[t, t + 10] float64: row i holds the window that begins at i."""
    size, sigma = GAUSSIAN
    weights = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
    weights /= weights.sum()
    return sum(w * np.eye(_TILE, _TILE + 2 * _REACH, k=k) for k, w in enumerate(weights))
