"""HiLo and token merging in plain numpy, in float64, position by position where that is the definition."""

import math

import numpy as np


def weights_of(layer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().astype(np.float64) for name, tensor in layer.state_dict().items()}


def stirred(layer, seed: int = 0):
    """The layer in evaluation with nothing at a special value: offsets of a pixel, variances above 0."""
    rng = np.random.default_rng(seed)
    for name, tensor in layer.state_dict().items():
        z = rng.standard_normal(tensor.shape)
        if name.endswith("_variance"):
            z = 0.5 + np.abs(z)
        elif z.ndim > 1:
            z = z / math.sqrt(z.size / max(z.shape) if z.ndim == 2 else np.prod(z.shape[1:]))
        tensor.set_value(z.astype(np.float32))
    layer.eval()
    return layer


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def linear(x: np.ndarray, state: dict, name: str) -> np.ndarray:
    return x @ state[f"{name}.weight"] + state.get(f"{name}.bias", 0.0)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, head_dim: int, scale: float) -> np.ndarray:
    """Each head by itself on [N, heads · d] and twice [M, heads · d]."""
    parts = []
    for start in range(0, q.shape[1], head_dim):
        head = slice(start, start + head_dim)
        parts.append(softmax(q[:, head] @ k[:, head].T * scale) @ v[:, head])
    return np.concatenate(parts, 1)


def hilo(state: dict, x: np.ndarray, heads: int, window: int, alpha: float, scale: float | None = None) -> np.ndarray:
    """[H, W, C] -> [H, W, C], padded with zeros to whole windows and cut back."""
    height, width, dim = x.shape
    d = dim // heads
    scale = d**-0.5 if scale is None else scale
    low_heads = heads if window == 1 else int(heads * alpha)
    l_dim, h_dim = low_heads * d, (heads - low_heads) * d
    down, across = -(-height // window), -(-width // window)
    padded = np.zeros((down * window, across * window, dim))
    padded[:height, :width] = x
    high, low = np.zeros((*padded.shape[:2], h_dim)), np.zeros((*padded.shape[:2], l_dim))
    means = np.zeros((down * across, dim))
    for i in range(down):
        for j in range(across):
            here = np.s_[i * window : (i + 1) * window, j * window : (j + 1) * window]
            inside = padded[here].reshape(-1, dim)
            means[i * across + j] = inside.mean(0)
            if h_dim:
                qkv = linear(inside, state, "h_qkv")
                mixed = attend(qkv[:, :h_dim], qkv[:, h_dim : 2 * h_dim], qkv[:, 2 * h_dim :], d, scale)
                high[here] = linear(mixed, state, "h_proj").reshape(window, window, h_dim)
    if l_dim:
        kv, q = linear(means, state, "l_kv"), linear(padded.reshape(-1, dim), state, "l_q")
        low = linear(attend(q, kv[:, :l_dim], kv[:, l_dim:], d, scale), state, "l_proj").reshape(low.shape)
    return np.concatenate([high, low], -1)[:height, :width]


def read(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """x [C, H, W] between its pixels, each corner outside counting 0: [C]."""
    top, left = math.floor(row), math.floor(column)
    total = np.zeros(len(x))
    for i, near_row in ((top, top + 1 - row), (top + 1, row - top)):
        for j, near_column in ((left, left + 1 - column), (left + 1, column - left)):
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                total += near_row * near_column * x[:, i, j]
    return total


def deformed(state: dict, x: np.ndarray) -> np.ndarray:
    """The deformable convolution of kernel and stride 2 of x [C, H, W]."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    out = np.zeros((len(state["weight"]), height, width))
    for i in range(height):
        for j in range(width):
            window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            offset = np.einsum("ochw,chw->o", state["conv_offset.weight"], window) + state["conv_offset.bias"]
            out[:, i, j] = state["bias"]
            for k, (down, across) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                value = read(x, 2 * i + down + offset[2 * k], 2 * j + across + offset[2 * k + 1])
                out[:, i, j] += state["weight"][:, :, down, across] @ value
    return out
