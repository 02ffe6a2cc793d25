"""Networks of super-resolution in numpy and scipy, float64, written from their papers."""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from scipy.signal import correlate2d

from ppcore.metrics.vgg import VGG19
from ppcore.weights import save_arrays


def randomized(model: nn.Layer, seed: int = 0) -> nn.Layer:
    """Weights that leave every layer something to do, biases and statistics of norms too; evaluation mode."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        values = rng.standard_normal(tensor.shape)
        if tensor.ndim > 1:
            values *= np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif name.endswith("_variance"):
            values = 1 + 0.3 * np.abs(values)
        elif name.endswith("weight"):  # slopes, of which some are negative; scales of norms
            values = 0.3 * values + (0.2 if name.endswith("_weight") else 1.0)
        else:
            values *= 0.1
        tensor.set_value(values.astype(np.float32))
    model.eval()
    return model


def convolution(x: np.ndarray, layer: nn.Layer, border: str) -> np.ndarray:
    """[C, H, W] through the weights of a convolution."""
    weight = layer.weight.numpy().astype(np.float64)
    reach = weight.shape[2] // 2
    if border != "valid":
        x = np.pad(x, [(0, 0), (reach, reach), (reach, reach)], mode={"zero": "constant", "replicate": "edge"}[border])
    y = np.stack([sum(correlate2d(x[i], w[i], "valid") for i in range(len(x))) for w in weight])
    return y if layer.bias is None else y + layer.bias.numpy().astype(np.float64)[:, None, None]


def norm(x: np.ndarray, layer: nn.Layer) -> np.ndarray:
    """[C, H, W] through a batch norm's running statistics."""
    state = {name: tensor.numpy().astype(np.float64)[:, None, None] for name, tensor in layer.state_dict().items()}
    return (x - state["_mean"]) / np.sqrt(state["_variance"] + 1e-5) * state["weight"] + state["bias"]


def prelu(x: np.ndarray, layer: nn.Layer) -> np.ndarray:
    """[C, H, W] with its negative values multiplied by the slopes."""
    return np.where(x > 0, x, x * layer._weight.numpy().astype(np.float64)[:, None, None])


def shuffled(x: np.ndarray) -> np.ndarray:
    """[4C, H, W] -> [C, 2H, 2W]: of four channels the first goes to the top left, the second right of it."""
    out = np.empty((len(x) // 4, 2 * x.shape[1], 2 * x.shape[2]))
    for row in (0, 1):
        for column in (0, 1):
            out[:, row::2, column::2] = x[2 * row + column :: 4]
    return out


def run(model: nn.Layer, x: np.ndarray) -> np.ndarray:
    """A network's output of one image [C, H, W]."""
    with paddle.no_grad():
        return model(paddle.to_tensor(x[None].astype(np.float32))).numpy()[0]


def image(*shape: int, seed: int = 0) -> np.ndarray:
    """A random image in [0, 1]."""
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def random_vgg19(path: Path) -> dict[str, np.ndarray]:
    """Writes a file as torchvision's `vgg19`, with random weights and a stump of a classifier; the weights."""
    rng, arrays = np.random.default_rng(0), {}
    for name, p in VGG19(taps=["conv5_4"]).named_parameters():
        shape = tuple(p.shape)
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.05
        arrays[name] = (spread * rng.standard_normal(shape, np.float32)).astype(np.float32)
    save_arrays(path, {**arrays, "classifier.0.bias": np.zeros(3, np.float32)}, {"format": "pt"})
    return arrays


def seen_from(model: nn.Layer, channels: int, size: int) -> tuple[int, int]:
    """The first and the last input row that an output's rows of the middle input pixel depend on, by its gradient."""
    x = paddle.to_tensor(image(1, channels, size, size), stop_gradient=False)
    scale = model.scale
    model(x)[:, :, size // 2 * scale : (size // 2 + 1) * scale, size // 2 * scale].sum().backward()
    rows = np.flatnonzero(np.abs(x.grad.numpy()).sum(axis=(0, 1, 3)))
    return rows.min(), rows.max()


def parameters(model: nn.Layer) -> int:
    """How many are trained."""
    return sum(p.size for p in model.parameters() if not p.stop_gradient)
