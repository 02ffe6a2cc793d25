"""Measures what docs/fourier.md reports: the same network in float32 and float64, with and without the canonical form.

python docs/fourier.py
"""

import argparse

from ppcore import runtime

runtime.configure()

import numpy as np
import paddle

from ppcore.layers.fourier import rfft2
from ppuhdfour import UHDFour, uhdfour_lol

# Multiples of 2, and their half: the size of the maps.
SIZES = [(64, 64), (128, 128), (100, 76), (48, 64), (48, 52), (90, 70), (104, 68), (76, 116)]
MAPS = [(32, 32), (64, 64), (24, 20), (50, 38), (135, 240), (270, 480)]


def fill(model: UHDFour, seed: int) -> None:
    """Weights z/sqrt(fan-in), vectors 0.02 z, scales of norms 1 + 0.1 z; z standard normal."""
    rng, state = np.random.default_rng(seed), {}
    for name, tensor in model.state_dict().items():
        z = rng.standard_normal(tensor.shape)
        vector = 1 + 0.1 * z if name.endswith("norm.weight") else 0.02 * z
        value = z / np.sqrt(z[0].size) if z.ndim > 1 else vector
        state[name] = paddle.to_tensor(value.astype(np.float32)).astype(tensor.dtype)
    model.set_state_dict(state)


def results(dtype: str, seeds: int, **options) -> list[np.ndarray]:
    """The network's output at every size, for several seeds of weights and image."""
    model, found = uhdfour_lol(**options), []
    model.to(dtype=dtype)
    model.eval()
    for seed in range(seeds):
        fill(model, seed)
        rng = np.random.default_rng(1000 + seed)
        for size in SIZES:
            x = rng.random((1, 3, *size)).astype(np.float32) * np.float32(0.3)
            with paddle.no_grad():
                found.append(model(paddle.to_tensor(x.astype(dtype))).numpy())
    return found


def gaps(one: list[np.ndarray], other: list[np.ndarray], seeds: int) -> list[str]:
    """Median and largest max |difference| / max |output| over the seeds, by size."""
    found = np.array([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(one, other, strict=True)])
    found = found.reshape(seeds, len(SIZES))
    return [f"{middle:.1e} ({most:.1e})" for middle, most in zip(np.median(found, 0), found.max(0), strict=True)]


def residue(size: tuple[int, int], backend: str) -> str:
    """What a transform leaves in the imaginary part of the self-conjugate bins of 128 random maps."""
    x = np.random.default_rng(0).standard_normal((8, 16, *size)).astype(np.float32)
    _, im = rfft2(paddle.to_tensor(x), backend, raw=True)
    rows, columns = ([0, n // 2] if n % 2 == 0 else [0] for n in size)
    left = im.numpy()[:, :, rows][:, :, :, columns]
    return f"{np.abs(left).max():.0e}, {(left < 0).mean():.0%} negative"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    print("| map | fft | matmul |\n|---|---|---|")
    for size in MAPS:
        print(f"| {size[0]}x{size[1]} | {residue(size, 'fft')} | {residue(size, 'matmul')} |")
    exact, single = results("float64", seeds), results("float32", seeds)
    pairs = [
        ("raw: float32, float64", results("float32", seeds, raw=True), results("float64", seeds, raw=True)),
        ("canonical: float32, float64", single, exact),
        ("canonical: matmul, fft (float32)", results("float32", seeds, backend="matmul"), single),
    ]
    print("\n| image | " + " | ".join(f"{h}x{w}" for h, w in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name, one, other in pairs:
        print(f"| {name} | " + " | ".join(gaps(one, other, seeds)) + " |", flush=True)


if __name__ == "__main__":
    main()
