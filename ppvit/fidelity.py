"""Measures our ViT against `tests/fidelity_data/vit_tiny.npz`, made by torch and transformers.

`measure()` returns rows that a test asserts and a report prints; it needs no torch.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle

import ppcore.weights
from ppcore import losses, optim
from ppcore.fidelity import OF_MAX, RELATIVE, Row, of_max, relative
from ppvit.vit import VisionTransformer


def measure(path: Path) -> list[Row]:
    """All comparisons: stages of the forward pass, every gradient, 40 steps of three recipes."""
    facts, arrays = json.loads(path.with_suffix(".json").read_text()), np.load(path)
    return [*_one_pass(facts, arrays), *(row for run in facts["training"]["runs"] for row in _run(run, facts, arrays))]


def build(facts: dict, arrays) -> VisionTransformer:
    """The model of the file, with its weights."""
    model = VisionTransformer(**facts["config"])
    stored = {name.removeprefix("weights/"): arrays[name] for name in arrays if name.startswith("weights/")}
    model.set_state_dict(ppcore.weights.convert(stored, source="timm", model=model))
    return model


def _one_pass(facts: dict, arrays) -> Iterator[Row]:
    model = build(facts, arrays)
    model.eval()
    batch = arrays["stages/logits"].shape[0]
    x = paddle.to_tensor(arrays["x"][:batch], stop_gradient=False)
    stages = model.forward_intermediates(x)
    names = [name for name in arrays if name.startswith("stages/")]
    blocks = sorted(name for name in names if "block_" in name)
    assert len(names) == len(blocks) + 4
    assert len(blocks) == len(model.blocks)

    def worst(keys: list[str]) -> float:
        return max(of_max(stages[key.removeprefix("stages/")].numpy(), arrays[key]) for key in keys)

    yield Row(2, "patch and position embedding", worst(["stages/patch_embed", "stages/pos_embed"]), 1e-5, OF_MAX)
    yield Row(2, "tokens after every block and the final norm", worst([*blocks, "stages/norm"]), 1e-5, OF_MAX)
    yield Row(2, "logits", worst(["stages/logits"]), 1e-5, OF_MAX)
    loss = losses.CrossEntropy()(stages["logits"], {"target": paddle.to_tensor(arrays["soft_targets"][:batch])})
    loss.backward()
    yield Row(2, "loss", relative(np.array(float(loss)), arrays["loss"]), 1e-5, RELATIVE)
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


def _run(name: str, facts: dict, arrays) -> Iterator[Row]:
    training = facts["training"]
    recipe = training["runs"][name]
    model = build(facts, arrays)
    model.train()
    if recipe["optimizer"] == "AdamW":
        beta1, beta2 = recipe["betas"]
        optimizer = optim.make(
            model,
            optim.AdamW,
            weight_decay=recipe["weight_decay"],
            no_weight_decay=["1d", "cls_token", "pos_embed"],
            beta1=beta1,
            beta2=beta2,
        )
    else:
        optimizer = optim.make(model, optim.Momentum, weight_decay=0.0, no_weight_decay=[], momentum=recipe["momentum"])
    binary = recipe["loss"].startswith("binary")
    criterion = losses.BinaryCrossEntropy(binarize=False) if binary else losses.CrossEntropy()
    targets = arrays["multi_targets" if binary else "soft_targets"]
    images, batch = arrays["x"], arrays["stages/logits"].shape[0]
    values, norms = [], []
    for step in range(training["steps"]):
        rows = [(step * batch + i) % len(images) for i in range(batch)]
        optimizer.set_lr(recipe["lr"] * min(1.0, (step + 1) / training["warmup"]))
        loss = criterion(model(paddle.to_tensor(images[rows])), {"target": paddle.to_tensor(targets[rows])})
        loss.backward()
        norms.append(float(optim.clip_grad_norm(model.parameters(), recipe["clip"])))
        values.append(float(loss))
        optimizer.step()
        optimizer.clear_grad()
    final = ppcore.weights.export(model, layout="timm")
    listed = [key.removeprefix("weights/") for key in arrays if key.startswith("weights/")]
    lengths = np.array([np.linalg.norm(final[key].astype(np.float64)) for key in listed])
    # Adam divides the rounding noise in the key biases' gradient by itself: lr-sized steps at random.
    settled = np.array([not key.endswith("qkv.bias") for key in listed])
    label = f"{training['steps']} steps of {recipe['optimizer']}, {recipe['loss']}"
    label += f", clip {recipe['clip']:g}" if recipe["clip"] else ""
    stored = f"runs/{name}"
    yield Row(4, f"{label}: loss", relative(np.array(values), arrays[f"{stored}/loss"]), 1e-5, RELATIVE)
    yield Row(4, f"{label}: gradient norm", relative(np.array(norms), arrays[f"{stored}/grad_norm"]), 5e-5, RELATIVE)
    gap = relative(lengths[settled], arrays[f"{stored}/final_norms"][settled])
    yield Row(4, f"{label}: norm of every final tensor but qkv biases", gap, 1e-5, RELATIVE)
