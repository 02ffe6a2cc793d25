"""Self-supervised networks with a golden file's weights; the tables that are not drawn are the networks' own."""

import filling
import numpy as np
import paddle
from paddle import nn

from ppcore import weights

FORWARD, GRADIENTS = 1e-5, 2e-5  # of the largest value


def filled(model: nn.Layer, manifest: dict, source: str) -> nn.Layer:
    """The model with the manifest's weights."""
    theirs = weights.export(model, layout=source)
    drawn = filling.weights(manifest)
    fixed = {name for name, _, _ in manifest["weights"].get("fixed", [])}
    assert drawn.keys() | fixed == theirs.keys()
    model.set_state_dict(
        {n: paddle.to_tensor(a) for n, a in weights.convert({**theirs, **drawn}, source=source, model=model).items()}
    )
    return model


def gradients(
    model: nn.Layer, loss: paddle.Tensor, source: str, untaught: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Gradients under the names and in the layouts of the file; each parameter must have one.

    `untaught` are parameters that the loss gives none, by our names.
    """
    loss.backward()
    named = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert {name for name, p in named.items() if p.grad is None} == set(untaught)
    found = {name: p.grad.numpy() for name, p in named.items() if p.grad is not None}
    for p in named.values():
        p.clear_gradient(False)  # to None, not to zeros
    return model.weight_maps()[source].from_paddle(found, model)


def without_keys(name: str, array: np.ndarray) -> np.ndarray:
    """A gradient without the part of a qkv bias that is zero in exact arithmetic: the keys'."""
    third = len(array) // 3
    return np.delete(array, np.s_[third : 2 * third]) if name.endswith("qkv.bias") else array


def compare_gradients(gaps: filling.Gaps, found: dict, arrays: dict, prefix: str) -> None:
    """Adds the gap of every gradient to `gaps`; the file must have exactly these."""
    assert {f"{prefix}{name}" for name in found} == {name for name in arrays if name.startswith(prefix)}
    for name, grad in found.items():
        want = without_keys(name, arrays[f"{prefix}{name}"])
        gaps.add(f"{prefix}{name}", filling.gap(without_keys(name, grad), want), GRADIENTS)
