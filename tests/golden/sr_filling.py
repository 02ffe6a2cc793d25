"""Networks of super-resolution with the weights of a golden case, and their arrays under the names of its file."""

from collections.abc import Callable, Mapping

import filling
import numpy as np
import paddle
from paddle import nn

import ppcore.weights


def filled(model: nn.Layer, listed: dict, source: str) -> nn.Layer:
    """The model with the weights of a list, in evaluation mode."""
    state = ppcore.weights.convert(filling.weights({"weights": listed}), source=source, model=model)
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    model.eval()
    return model


def named(model: nn.Layer, state: dict, source: str, listed: dict) -> dict[str, np.ndarray]:
    """Parameters or gradients by the names of the list, in its order, without the running statistics."""
    state = {name: np.asarray(array) for name, array in state.items()}
    theirs = model.weight_maps()[source].from_paddle(state, model)
    return {key: theirs[key] for key, _, rule in listed["keys"] if not rule.startswith("running")}


def gradients(model: nn.Layer, source: str, listed: dict) -> dict[str, np.ndarray]:
    """Of every parameter."""
    return named(
        model, {name: p.grad.numpy() for name, p in model.named_parameters() if not p.stop_gradient}, source, listed
    )


def norms(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Of each array, in order."""
    return np.array([np.linalg.norm(array.astype(np.float64)) for array in arrays.values()])


def sample(array: np.ndarray, most: int = 16) -> np.ndarray:
    """At most so many elements an axis."""
    return array[tuple(np.s_[:: -(-size // most)] for size in array.shape)]


def running(model: nn.Layer, source: str, listed: dict, wanted: list[str], counts: Callable[[str], int], passes: int):
    """Running statistics by the file's names, the variances as torch updates them.

    Paddle on a CPU takes the biased variance of a batch, torch the unbiased: what the passes have added is put right.

    Args:
        wanted: names.
        counts: values a channel of a norm's input, by the norm's name.
        passes: forward passes in training mode since the weights were filled in.
    """
    own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    theirs, begin = model.weight_maps()[source].from_paddle(own, model), filling.weights({"weights": listed})
    for key in wanted:
        found = theirs[key].astype(np.float64)
        norm, _, what = key.rpartition(".")
        if what == "running_var":
            n, kept = counts(norm), 0.9**passes * begin[key]
            found = kept + (found - kept) * n / (n - 1)
        yield key, found


def stored(arrays: Mapping, prefix: str) -> list[str]:
    """The names under a prefix, without it."""
    return [name.removeprefix(prefix) for name in arrays if name.startswith(prefix) and not name.endswith("_f64")]
