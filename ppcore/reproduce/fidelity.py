"""Comparing with a reference: what a row is, how a gap is measured, and what every classifier's file is measured by.

A stored file holds a tiny model computed by another implementation: weights, one pass with its
gradients, short trainings. A paper says how to build its model, which outputs it has and what it
minimises; the rest is here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import paddle.nn as nn

import ppcore.weights
from ppcore import optim

OF_MAX, RELATIVE = "max |difference| / max |reference|", "largest relative difference"
_EMBEDDING = ["stages/patch_embed", "stages/pos_embed"]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        level: 1 structure, 2 forward, 3 gradients, 4 training, 5 trained weights.
        what: what was compared.
        measured: the gap, in the unit `kind`.
        tolerance: the largest gap that passes.
        kind: how the gap is measured.
    """

    level: int
    what: str
    measured: float
    tolerance: float
    kind: str

    @property
    def passed(self) -> bool:
        """Within tolerance; NaN is not."""
        return bool(self.measured <= self.tolerance)


def of_max(got: np.ndarray, want: np.ndarray) -> float:
    """max |got - want| / max |want|."""
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    return float(np.abs(np.float64(got) - want).max() / np.abs(want).max())


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """max (|got - want| / |want|)."""
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    return float((np.abs(np.float64(got) - want) / np.abs(want)).max())


def count_parameters(builder: Callable[[], nn.Layer]) -> int:
    """Trainable values of a builder's default model, without allocating them.

    (Paddle's `parameters()` lists the running statistics of batch norms, too.)
    """
    with paddle.LazyGuard():
        model = builder()
    return sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)


def read(path: Path) -> tuple[dict, Mapping[str, np.ndarray]]:
    """(facts, arrays) of a stored file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), arrays


def filled(model: nn.Layer, arrays: Mapping[str, np.ndarray]) -> nn.Layer:
    """The model with the file's weights, in evaluation mode."""
    stored = {name.removeprefix("weights/"): arrays[name] for name in arrays if name.startswith("weights/")}
    model.set_state_dict(ppcore.weights.convert(stored, source="timm", model=model))
    model.eval()
    return model


def one_pass(
    model: nn.Layer,
    arrays: Mapping[str, np.ndarray],
    *,
    loss: Callable[[dict], paddle.Tensor],
    forward: Callable[[paddle.Tensor], dict] | None = None,
) -> Iterator[Row]:
    """Every stage of the forward pass, the loss, every gradient.

    Args:
        model: `filled`.
        arrays: of the file.
        loss: stages -> the scalar whose gradients are stored.
        forward: images -> stages by name, the model's own `forward_intermediates` by default.
    """
    batch = arrays["stages/logits"].shape[0]
    x = paddle.to_tensor(arrays["x"][:batch], stop_gradient=False)
    stages = (forward or model.forward_intermediates)(x)
    names = [name for name in arrays if name.startswith("stages/")]
    blocks = sorted(name for name in names if "block_" in name)
    if len(blocks) != len(model.blocks):
        raise ValueError(f"the file has {len(blocks)} blocks, the model {len(model.blocks)}")

    def worst(keys: list[str]) -> float:
        return max(of_max(stages[key.removeprefix("stages/")].numpy(), arrays[key]) for key in keys)

    yield Row(2, "patch and position embedding", worst(_EMBEDDING), 1e-5, OF_MAX)
    yield Row(2, "tokens after every block and the final norm", worst([*blocks, "stages/norm"]), 1e-5, OF_MAX)
    for key in names:
        if key not in (*_EMBEDDING, *blocks, "stages/norm"):
            yield Row(2, key.removeprefix("stages/").replace("_", " "), worst([key]), 1e-5, OF_MAX)
    value = loss(stages)
    value.backward()
    yield Row(2, "loss", relative(np.array(float(value)), arrays["loss"]), 1e-5, RELATIVE)
    ours = {name: p.grad.numpy() for name, p in model.named_parameters()}
    ours = model.weight_maps()["timm"].from_paddle(ours, model)
    gaps = [of_max(x.grad.numpy(), arrays["gradients/x"])]
    for name, gradient in ours.items():
        want = arrays[f"gradients/{name}"]
        if name.endswith("qkv.bias"):
            # The key third is zero in exact arithmetic (softmax ignores what all keys share).
            third = len(want) // 3
            gradient, want = (np.delete(a, np.s_[third : 2 * third]) for a in (gradient, want))
        gaps.append(of_max(gradient, want))
    yield Row(3, "gradient of every parameter and of the images", max(gaps), 2e-5, OF_MAX)


def optimizer(model: nn.Layer, recipe: Mapping) -> paddle.optimizer.Optimizer:
    """The optimiser of a recipe: AdamW, LAMB or SGD with momentum; vectors, class token and positions do not decay."""
    if recipe["optimizer"] == "SGD":
        factory, constants = optim.Momentum, dict(momentum=recipe["momentum"])
    else:
        factory = {"AdamW": optim.AdamW, "LAMB": optim.Lamb}[recipe["optimizer"]]
        constants = dict(zip(("beta1", "beta2"), recipe["betas"], strict=True))
    spared = ["1d", "cls_token", "pos_embed"]
    return optim.make(model, factory, weight_decay=recipe["weight_decay"], no_weight_decay=spared, **constants)


def training(
    model: nn.Layer,
    facts: Mapping,
    arrays: Mapping[str, np.ndarray],
    run: str,
    *,
    criterion: Callable,
    batch: Callable[[list[int]], dict],
) -> Iterator[Row]:
    """One of the file's trainings, step by step.

    Args:
        model: `filled`.
        facts: of the file.
        arrays: of the file.
        run: name of the training.
        criterion: called as `criterion(outputs, batch)`.
        batch: indices of images -> what the criterion takes beside the outputs.
    """
    plan = facts["training"]
    recipe = plan["runs"][run]
    model.train()
    updates = optimizer(model, recipe)
    images, size = arrays["x"], arrays["stages/logits"].shape[0]
    values, norms = [], []
    for step in range(plan["steps"]):
        rows = [(step * size + i) % len(images) for i in range(size)]
        updates.set_lr(recipe["lr"] * min(1.0, (step + 1) / plan["warmup"]))
        loss = criterion(model(paddle.to_tensor(images[rows])), batch(rows))
        loss.backward()
        norms.append(float(optim.clip_grad_norm(model.parameters(), recipe["clip"])))
        values.append(float(loss))
        updates.step()
        updates.clear_grad()
    final = ppcore.weights.export(model, layout="timm")
    listed = [key.removeprefix("weights/") for key in arrays if key.startswith("weights/")]
    lengths = np.array([np.linalg.norm(final[key].astype(np.float64)) for key in listed])
    # Adam divides the rounding noise in the key biases' gradient by itself: lr-sized steps at random.
    settled = np.array([not key.endswith("qkv.bias") for key in listed])
    label = f"{plan['steps']} steps of {recipe['optimizer']}, {recipe['loss']}"
    label += f", clip {recipe['clip']:g}" if recipe["clip"] else ""
    stored = f"runs/{run}"
    yield Row(4, f"{label}: loss", relative(np.array(values), arrays[f"{stored}/loss"]), 1e-5, RELATIVE)
    yield Row(4, f"{label}: gradient norm", relative(np.array(norms), arrays[f"{stored}/grad_norm"]), 5e-5, RELATIVE)
    gap = relative(lengths[settled], arrays[f"{stored}/final_norms"][settled])
    yield Row(4, f"{label}: norm of every final tensor but qkv biases", gap, 1e-5, RELATIVE)
