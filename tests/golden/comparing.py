"""Comparing a classifier with a golden file: every array of the file is compared, or named as left out."""

import gc
from collections.abc import Callable
from pathlib import Path

import filling
import numpy as np
import paddle
import paddle.nn.functional as F

import ppcore.weights
from ppvit import VisionTransformer

GRAD_NORM = 1e-4  # relative
TINY, TINY_GRADIENTS = 1e-5, 2e-5  # of the largest value

# Entries of a tiny model's manifest that are constructor arguments; the others describe.
CONFIG = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "num_classes", "mlp_ratio", "qkv_bias")
# Arrays that are not results.
GIVEN = {"x"}


def tiny_config(manifest: dict) -> dict:
    """Constructor arguments of a tiny model."""
    return {name: manifest["config"][name] for name in CONFIG}


def filled(model: VisionTransformer, manifest: dict) -> VisionTransformer:
    """The model with the manifest's weights, in evaluation mode."""
    state = ppcore.weights.convert(filling.weights(manifest), source="timm", model=model)
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    model.eval()
    return model


def losses(stages: dict, heads: tuple | None, labels: list[int]) -> dict[str, paddle.Tensor]:
    """The losses whose gradients are stored, by the suffix of the arrays' names."""
    target = paddle.to_tensor(labels)
    found = {"": F.cross_entropy(stages["logits"], target)}
    if heads is not None:
        found["_two_heads"] = (F.cross_entropy(heads[0], target) + F.cross_entropy(heads[1], target)) / 2
    return found


def two_heads(model: VisionTransformer, stages: dict) -> tuple | None:
    """Logits of both heads of a distilled model."""
    return model.forward_heads(stages["norm"]) if model.num_prefix_tokens == 2 else None


def unseen(arrays: dict, seen: set[str]) -> set[str]:
    """Arrays of the file nobody looked at (float64 duplicates aside)."""
    return {name for name in arrays if not name.endswith("_f64")} - seen - GIVEN


def classifier(
    path: Path, builder: Callable[..., VisionTransformer], tolerance: float, loose: float | None = None
) -> None:
    """A published size: parameter count, tokens after every block, logits, gradient norms.

    Args:
        path: the manifest.
        builder: ours.
        tolerance: of outputs, of max.
        loose: bound for the gradient norms of a hybrid's backbone.
    """
    manifest, arrays = filling.load(path)
    model = filled(builder(), manifest)
    assert sum(p.size for p in model.parameters()) == manifest["params"]

    size, batch = manifest["img_size"], arrays["logits"].shape[0]
    x = filling.images(filling.seed_of(path), (batch, 3, size, size), manifest)
    has_gradients = "grad_norms" in arrays
    assert has_gradients == ("grad_keys" in manifest)
    with paddle.set_grad_enabled(has_gradients):
        stages = model.forward_intermediates(paddle.to_tensor(x))
        heads = two_heads(model, stages)
    values = {k: v.detach().numpy() for k, v in stages.items()}
    blocks = [values[k] for k in sorted(values) if k.startswith("block_")]
    embedded, normed = values["patch_embed"], values["norm"]
    wide = embedded.astype(np.float64)
    got = {
        "logits": values["logits"],
        "cls_tokens": np.stack([tokens[:, 0] for tokens in blocks]),
        "final_norm_cls": normed[:, 0],
        "final_norm_token_l2": np.linalg.norm(normed.astype(np.float64), axis=-1),
        "patch_embed_first": embedded.reshape(batch, -1)[:, :64],
        "patch_embed_stats": [wide.mean(), wide.std(), np.abs(wide).max()],
    }
    if heads is not None:
        got |= {
            "cls_logits": heads[0].detach().numpy(),
            "dist_logits": heads[1].detach().numpy(),
            "dist_tokens": np.stack([tokens[:, 1] for tokens in blocks]),
            "final_norm_dist": normed[:, 1],
        }
    gaps = filling.Gaps()
    for name, value in got.items():
        gaps.add(name, filling.gap(value, arrays[name]), tolerance)
    seen = set(got)
    for suffix, loss in losses(stages, heads, manifest["labels"]).items() if has_gradients else ():
        if f"ce_loss{suffix}" in arrays:
            gaps.add(f"loss{suffix}", filling.relative([float(loss)], arrays[f"ce_loss{suffix}"]), 1e-5)
        loss.backward(retain_graph=True)
        norms = {n: float(np.linalg.norm(p.grad.numpy().astype(np.float64))) for n, p in model.named_parameters()}
        model.clear_gradients()
        for key, want in zip(manifest["grad_keys"], arrays[f"grad_norms{suffix}"], strict=True):
            bound = (loose or GRAD_NORM) if ".backbone." in key else GRAD_NORM
            gaps.add(f"gradient{suffix} of {key}", abs(norms[key] - want) / want, bound)
        seen |= {f"ce_loss{suffix}", f"grad_norms{suffix}"}
    assert not unseen(arrays, seen), "an array was not compared"
    # The next model may be as large: let this one go first.
    del model, stages, heads, values, blocks
    gc.collect()
    gaps.check()


def every_tensor(path: Path, build: Callable[[dict], VisionTransformer]) -> None:
    """A tiny model: every tensor of the pass and every gradient.

    Args:
        path: the manifest.
        build: the model of a manifest.
    """
    manifest, arrays = filling.load(path)
    model = filled(build(manifest), manifest)
    branches: dict[str, np.ndarray] = {}
    for i, block in enumerate(model.blocks):
        for name, module in (("attn_out", block.attn), ("mlp_out", block.mlp)):
            module.register_forward_post_hook(
                lambda layer, inputs, out, key=f"{name}{i}": branches.update({key: out.detach().numpy()})
            )
    x = paddle.to_tensor(arrays["x"], stop_gradient=False)
    stages = model.forward_intermediates(x)
    heads = two_heads(model, stages)
    found = losses(stages, heads, manifest["labels"])
    got = branches | {
        "patch_embed": stages["patch_embed"],
        "tokens_in": stages["pos_embed"],
        "norm": stages["norm"],
        "logits": stages["logits"],
        "attn0": model.attention_maps(x)[0],
    }
    got |= {f"block{i}": stages[f"block_{i:02d}"] for i in range(len(model.blocks))}
    got |= {f"ce_loss{suffix}": loss for suffix, loss in found.items()}
    if heads is not None:
        got |= {"cls_logits": heads[0], "dist_logits": heads[1]}
    gaps, seen = filling.Gaps(), set(got) | {"grad_x"}
    for name, value in got.items():
        want = arrays[name]
        gaps.add(name, filling.gap(np.asarray(value).reshape(want.shape), want), TINY)
    for suffix, loss in found.items():
        loss.backward(retain_graph=True)
        if not suffix:
            gaps.add("grad_x", filling.gap(x.grad.numpy(), arrays["grad_x"]), TINY_GRADIENTS)
        ours = {name: p.grad.numpy() for name, p in model.named_parameters()}
        model.clear_gradients()
        for key, grad in model.weight_maps()["timm"].from_paddle(ours, model).items():
            name = f"grad{suffix}/{key}"
            seen.add(name)
            want = arrays[name]
            if key.endswith("qkv.bias"):
                # Adding a constant to every key shifts all scores of a query alike: that gradient is
                # zero in exact arithmetic, and what is left of it here is rounding.
                third = len(want) // 3
                grad, want = np.delete(grad, np.s_[third : 2 * third]), np.delete(want, np.s_[third : 2 * third])
            gaps.add(name, filling.gap(grad, want), TINY_GRADIENTS)
    assert not unseen(arrays, seen), "an array was not compared"
    gaps.check()
