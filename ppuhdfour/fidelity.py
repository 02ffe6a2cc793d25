"""Measures UHDFour against stored numbers of torch (`tests/fidelity_data/uhdfour_tiny`); needs no torch.

`measure()` returns rows that a test asserts and a report prints.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

import ppcore.weights
from ppcore import optim
from ppcore.reproduce import fidelity
from ppcore.reproduce.fidelity import OF_MAX, RELATIVE, Row, of_max, relative
from ppuhdfour.uhdfour import UHDFour, reduce

Arrays = Mapping[str, np.ndarray]


def measure(path: Path) -> list[Row]:
    """Both outputs, the guides, every gradient, 40 steps of Adam; with either backend of the transforms."""
    facts, arrays = fidelity.read(path)
    rows = [row for backend in ("fft", "matmul") for row in _one_pass(facts, arrays, backend)]
    return [*rows, *_training(facts, arrays)]


def _filled(facts: Mapping, arrays: Arrays, dtype: str = "float32", **options) -> UHDFour:
    """The model with the file's weights, in training mode: it returns both outputs."""
    model = UHDFour(**facts["config"], **options)
    stored = {name.removeprefix("weights/"): arrays[name] for name in arrays if name.startswith("weights/")}
    model.set_state_dict(ppcore.weights.convert(stored, source="uhdfour", model=model))
    model.to(dtype=dtype)
    model.train()
    return model


def _loss(outputs: tuple, target: paddle.Tensor, scale: int) -> paddle.Tensor:
    y, y_low = outputs
    return 5 * F.smooth_l1_loss(y, target) + 0.5 * F.smooth_l1_loss(y_low, reduce(target, scale))


def _official(values: Mapping[str, paddle.Tensor], model: UHDFour) -> dict[str, np.ndarray]:
    ours = {name: tensor.numpy() for name, tensor in values.items()}
    return model.weight_maps()["uhdfour"].from_paddle(ours, model)


def _one_pass(facts: Mapping, arrays: Arrays, backend: str) -> Iterator[Row]:
    model = _filled(facts, arrays, backend=backend)
    x = paddle.to_tensor(arrays["x"], stop_gradient=False)
    guides: dict[str, paddle.Tensor] = {}
    hooks = [
        layer.register_forward_post_hook(lambda layer, given, out, name=name: guides.update({name: out}))
        for name, layer in (("A_r", model.low.amplitude), ("P_r", model.low.phase))
    ]
    outputs = model(x)
    for hook in hooks:
        hook.remove()
    found = guides | dict(zip(("y", "y_low"), outputs, strict=True))
    what = {"y": "enhanced image", "y_low": "low-resolution result", "A_r": "amplitude guide", "P_r": "phase guide"}
    for name, label in what.items():
        # A phase is as exact as its bin is large: small ones turn with the rounding of the whole.
        tolerance = 5e-4 if name == "P_r" else 5e-5
        yield Row(2, f"{label} ({backend})", of_max(found[name].numpy(), arrays[f"stages/{name}"]), tolerance, OF_MAX)
    value = _loss(outputs, paddle.to_tensor(arrays["target"]), model.scale)
    value.backward()
    yield Row(2, f"loss ({backend})", relative(np.array(float(value)), arrays["loss"]), 1e-5, RELATIVE)
    gaps = [of_max(x.grad.numpy(), arrays["gradients/x"])]
    for name, gradient in _official({name: p.grad for name, p in model.named_parameters()}, model).items():
        want = arrays[f"gradients/{name}"]
        if name.endswith("conv_1.bias"):
            # Instance normalisation removes the first half of this bias: its gradient is zero in exact arithmetic.
            gradient, want = (a[len(a) // 2 :] for a in (gradient, want))
        gaps.append(of_max(gradient, want))
    label = f"gradient of every parameter and of the image ({backend})"
    yield Row(3, label, max(gaps), 2e-4, OF_MAX)


def _training(facts: Mapping, arrays: Arrays) -> Iterator[Row]:
    recipe = facts["training"]
    model = _filled(facts, arrays, "float64")
    x, target = (paddle.to_tensor(arrays[name].astype(np.float64)) for name in ("x", "target"))
    beta1, beta2 = recipe["betas"]
    optimizer = optim.make(
        model, optim.Adam, weight_decay=0.0, no_weight_decay=[], beta1=beta1, beta2=beta2, epsilon=recipe["eps"]
    )
    optimizer.set_lr(recipe["lr"])
    values, norms = [], []
    for _ in range(recipe["steps"]):
        loss = _loss(model(x), target, model.scale)
        loss.backward()
        values.append(float(loss))
        norms.append(float(paddle.add_n([(p.grad**2).sum() for p in model.parameters()]).sqrt()))
        optimizer.step()
        optimizer.clear_grad()
    final = _official(model.state_dict(), model)
    listed = [key.removeprefix("weights/") for key in arrays if key.startswith("weights/")]
    lengths = np.array([np.linalg.norm(final[key]) for key in listed])
    label = f"{recipe['steps']} steps of Adam in float64"
    yield Row(4, f"{label}: loss", relative(np.array(values), arrays["run/loss"]), 1e-5, RELATIVE)
    # The gradient jumps where the phase does; what Adam's constants round to in Paddle moves the steps by 1e-8.
    yield Row(4, f"{label}: gradient norm", relative(np.array(norms), arrays["run/grad_norm"]), 5e-4, RELATIVE)
    gap = relative(lengths, arrays["run/final_norms"])
    yield Row(4, f"{label}: norm of every final tensor", gap, 1e-5, RELATIVE)
