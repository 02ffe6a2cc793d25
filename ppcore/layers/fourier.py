"""The two-dimensional Fourier transform of real maps, in amplitude and phase, in a canonical form.

A network that works on the phase of a spectrum is not well defined until two conventions are
fixed (docs/fourier.md has the measurements):

1. At the self-conjugate bins (rows 0 and H/2, columns 0 and W/2) the spectrum of a real map is
   real. What a library leaves in the imaginary part there is rounding, and where the real part is
   negative its sign decides between the phases +π and -π. Here it is +0, so the phase is +π.
2. A spectrum that a network has changed is no longer that of a real map. Of the columns 0 and W/2
   only the part that is counts (what numpy and torch do on CPUs; cuFFT leaves it undefined).

Spectra are pairs (re, im) of real tensors [..., H, W//2 + 1]: Paddle's complex kernels are several
times slower on CPUs, and ONNX has no complex numbers. Two backends give the same numbers: `fft`
(paddle.fft) and `matmul`, products with DFT matrices, for graphs with open H and W.
"""

import math
from typing import Literal

import paddle
import paddle.fft

Backend = Literal["fft", "matmul"]
Pair = tuple[paddle.Tensor, paddle.Tensor]


def rfft2(x: paddle.Tensor, backend: Backend = "fft", raw: bool = False) -> Pair:
    """The discrete Fourier transform over the last two axes (unnormalised, "backward").

    Args:
        x: real [..., H, W], any H, W >= 1.
        backend: how to compute it.
        raw: keep the rounding residue in the imaginary part of the self-conjugate bins.

    Returns:
        Real and imaginary part, [..., H, W//2 + 1].
    """
    height, width = x.shape[-2], x.shape[-1]
    if backend == "fft":
        spectrum = paddle.fft.rfft2(x)
        re, im = paddle.real(spectrum), paddle.imag(spectrum)
    else:
        re, im = _matmul_rfft2(x, height, width)
    if raw:
        return re, im
    real = self_conjugate(height).unsqueeze(1) & self_conjugate(width)[: width // 2 + 1]  # [H, W//2 + 1]
    return re, paddle.where(real.expand_as(im), paddle.zeros_like(im), im)


def irfft2(
    re: paddle.Tensor, im: paddle.Tensor, width: int, backend: Backend = "fft", raw: bool = False
) -> paddle.Tensor:
    """The inverse of `rfft2`, of any spectrum: of columns 0 and W/2 the Hermitian part is taken.

    Args:
        re: real part, [..., H, W//2 + 1].
        im: imaginary part, likewise.
        width: W, which the spectrum alone does not tell.
        backend: how to compute it.
        raw: leave columns 0 and W/2 to the library (`fft` only; undefined on GPUs).

    Returns:
        Real [..., H, W].
    """
    if backend == "matmul":
        return _matmul_irfft2(re, im, re.shape[-2], width)
    if raw:
        return paddle.fft.irfft2(paddle.complex(re, im), s=[re.shape[-2], width])
    rows = paddle.fft.ifft(paddle.complex(re, im), axis=-2)
    # The inverse over a row takes columns 0 and W/2 as real. Saying so makes it defined everywhere.
    imaginary = paddle.imag(rows)
    real = self_conjugate(width)[: width // 2 + 1].expand_as(imaginary)
    imaginary = paddle.where(real, paddle.zeros_like(imaginary), imaginary)
    return paddle.fft.irfft(paddle.complex(paddle.real(rows), imaginary), n=width, axis=-1)


def amplitude_phase(re: paddle.Tensor, im: paddle.Tensor) -> Pair:
    """Amplitude √(re² + im²) and phase atan2(im, re) in (-π, π].

    Where both parts are 0 both are 0, and so are all their gradients (as torch's abs and angle).
    """
    power = re * re + im * im
    zero = power == 0
    one, none = paddle.ones_like(re), paddle.zeros_like(re)
    amplitude = paddle.where(zero, none, paddle.sqrt(paddle.where(zero, one, power)))
    phase = paddle.atan2(paddle.where(zero, none, im), paddle.where(zero, one, re))
    return amplitude, phase


def compose(amplitude: paddle.Tensor, phase: paddle.Tensor) -> Pair:
    """Real and imaginary part of amplitude · exp(i · phase); a negative amplitude turns the phase by π."""
    return amplitude * paddle.cos(phase), amplitude * paddle.sin(phase)


def self_conjugate(size: int) -> paddle.Tensor:
    """Which frequencies of an axis are their own negative (0 and, for an even size, size/2); bool [size]."""
    return (2 * paddle.arange(size)) % size == 0


def dft_tables(size: int, frequencies: int, dtype: str = "float32") -> Pair:
    """cos and sin of 2πkn/size, [size, frequencies].

    k·n is reduced modulo size as an integer: the angle of a large product is wrong in float32
    (at size 480 by up to 1e-4).
    """
    turns = (paddle.arange(size).unsqueeze(1) * paddle.arange(frequencies).unsqueeze(0)) % size
    angle = turns.astype(dtype) * (2 * math.pi / size)
    return paddle.cos(angle), paddle.sin(angle)


def _matmul_rfft2(x: paddle.Tensor, height: int, width: int) -> Pair:
    dtype = str(x.dtype).removeprefix("paddle.")
    cos, sin = dft_tables(width, width // 2 + 1, dtype)  # [W, W//2 + 1]
    a, b = paddle.matmul(x, cos), -paddle.matmul(x, sin)  # rows: [..., H, W//2 + 1]
    cos, sin = dft_tables(height, height, dtype)  # symmetric, [H, H]
    return paddle.matmul(cos, a) + paddle.matmul(sin, b), paddle.matmul(cos, b) - paddle.matmul(sin, a)


def _matmul_irfft2(re: paddle.Tensor, im: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
    dtype = str(re.dtype).removeprefix("paddle.")
    cos, sin = dft_tables(height, height, dtype)
    a = paddle.matmul(cos, re) - paddle.matmul(sin, im)  # columns: [..., H, W//2 + 1]
    b = paddle.matmul(cos, im) + paddle.matmul(sin, re)
    cos, sin = dft_tables(width, width // 2 + 1, dtype)
    # Every column but 0 and W/2 stands for its mirror image, too.
    alone = self_conjugate(width)[: width // 2 + 1]
    weight = paddle.where(alone, paddle.ones([1], dtype), paddle.full([1], 2.0, dtype)) / (height * width)
    there = paddle.where(alone, paddle.zeros([1], dtype), weight)
    return paddle.matmul(a, (cos * weight).t()) - paddle.matmul(b, (sin * there).t())
