"""Writes tests/fidelity_data/{mae,can,jigsaw_vit}_tiny (.npz and .json): tiny networks computed by torch.

    python tests/reference/make_mae_reference.py

`make test` and the reports check MAE, CAN and Jigsaw-ViT against these files. This script and its neighbours import nothing of ours.
"""

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_mae

POOL, BATCH, STEPS = 8, 4, 24
# Of 30 patches 30 · (1 - .8) are kept: a little below 6, so 5. The grid is not square, so that rows and columns are told apart.
SIZES = dict(img_size=[20, 24], patch_size=4, embed_dim=16, depth=2, num_heads=2)
DECODER = dict(decoder_embed_dim=12, decoder_depth=1, decoder_num_heads=3)
RATIO = 0.8
ADAMW = dict(optimizer="AdamW", base_lr=4e-3, warmup=4, weight_decay=0.1, eps=1e-8, steps=STEPS)
PATCHES = 30


def rate(step: int) -> float:
    """Linear from 0, then a cosine from the end of the warm-up to 0."""
    if step < ADAMW["warmup"]:
        return ADAMW["base_lr"] * step / ADAMW["warmup"]
    done = (step - ADAMW["warmup"]) / (STEPS - ADAMW["warmup"])
    return ADAMW["base_lr"] * (1 + math.cos(math.pi * done)) / 2


def trained(model, loss: Callable, recipe: dict, spared: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """STEPS of AdamW in float64: loss and norm of the gradient of every step, length of every tensor after the last.

    Args:
        model: whose present weights a copy starts from.
        loss: of a model on rows of the pool, in float64.
        recipe: `betas` and the rest.
        spared: names that do not decay, beside vectors.
    """
    model = copy.deepcopy(model).double()
    groups: dict[bool, list] = {True: [], False: []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups[p.ndim > 1 and name not in spared].append(p)
    optimizer = torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": recipe["weight_decay"]}, {"params": groups[False], "weight_decay": 0.0}],
        lr=0.0, betas=tuple(recipe["betas"]), eps=recipe["eps"],
    )  # fmt: skip
    curve = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        value = loss(model, [(step * BATCH + i) % POOL for i in range(BATCH)])
        value.backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
        curve.append([value.item(), norm.item()])
        optimizer.step()
    lengths = [np.linalg.norm(a) for a in torch_mae.arrays(model).values()]
    return {
        "run/loss": np.array(curve)[:, 0],
        "run/grad_norm": np.array(curve)[:, 1],
        "run/final_norms": np.array(lengths),
    }


def drawn(network: type, config: dict):
    """A filled network, a generator, and the noise of the masks [POOL, views · N], each number once in a row."""
    torch.manual_seed(0)
    model = network(**config)
    torch_mae.fill(model, stored.SEED)
    rng = np.random.default_rng(stored.SEED + 1)
    noise = np.stack([rng.permutation(2 * PATCHES) for _ in range(POOL)]) / (2 * PATCHES)
    return model.eval(), rng, noise.round(4)


def result(model, x: np.ndarray, pixels: torch.Tensor, stages: dict, loss: torch.Tensor) -> dict[str, np.ndarray]:
    """Everything of the one pass."""
    model.zero_grad()
    loss.backward()
    arrays = {"x": x} | {f"weights/{name}": a for name, a in torch_mae.arrays(model).items()}
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    arrays |= {f"gradients/{name}": a for name, a in torch_mae.arrays(model, lambda p: p.grad).items()}
    return arrays | {"loss": np.float64(loss.item()), "gradients/x": pixels.grad.numpy()}


def mae() -> tuple[dict, dict]:
    """The arrays and the facts of MAE."""
    config = SIZES | DECODER | {"norm_pix_loss": True}
    model, rng, noise = drawn(torch_mae.MAE, SIZES | DECODER)
    noise = noise[:, :PATCHES]
    x = rng.standard_normal((POOL, 3, *SIZES["img_size"]))
    x[:, :, :8, :12] *= 2e-3  # patches whose variance is near the epsilon
    x = x.astype(np.float32)
    order = torch.from_numpy(noise)

    def loss(net, images, rows, norm_pix=True):
        keep, restore, removed = torch_mae.masked(order[rows], RATIO)
        return torch_mae.mae_loss(
            net.decode(net.encode(net.visible(images, keep)), restore), images, net.patch, removed, norm_pix
        )

    first, pixels = list(range(BATCH)), torch.from_numpy(x[:BATCH]).requires_grad_()
    keep, restore, _ = torch_mae.masked(order[:BATCH], RATIO)
    tokens = model.visible(pixels, keep)
    latent = model.encode(tokens)
    stages = {
        "tokens": tokens, "latent": latent, "predicted": model.decode(latent, restore),
        "features": model.encode(model.visible(pixels))[:, 0],
        "pos_embed": model.pos_embed, "decoder_pos_embed": model.decoder_pos_embed,
        "plain_loss": loss(model, pixels, first, norm_pix=False)[None],
    }  # fmt: skip
    arrays = result(model, x, pixels, stages, loss(model, pixels, first))
    recipe = ADAMW | {"betas": [0.9, 0.95]}
    arrays |= trained(model, lambda net, rows: loss(net, torch.from_numpy(x[rows]).double(), rows), recipe)
    return arrays, facts("MAE, tiny", torch_mae.mae_loss, config, noise, recipe, {
        "x": f"({POOL}, 3, 20, 24) images, the upper left nearly flat; stages, loss and gradients use the first {BATCH}",
        "stages/<name>": "tokens and latent of the kept patches, predicted patches, the class token of whole images, both position tables, the loss of plain pixels",
        "loss": "of normalised pixels",
    })  # fmt: skip


def can() -> tuple[dict, dict]:
    """The arrays and the facts of CAN."""
    config = SIZES | DECODER | dict(img_size=[10, 12], patch_size=2, projection_dim=8, noise_dim=8)
    model, rng, noise = drawn(torch_mae.CAN, config)
    x = rng.standard_normal((POOL, 2, 2, 3, *config["img_size"])).astype(np.float32)
    levels = (0.5 * rng.random((POOL, 2))).round(3)
    options = dict(mask_ratio=RATIO, temperature=0.2, weights=[0.03, 0.67, 0.30])

    def losses(net, pairs, rows):
        """First all first views, then all second."""
        clean, e = (torch.cat([pairs[:, view, part] for view in (0, 1)]) for part in (0, 1))
        sigma = torch.from_numpy(levels[rows].T.ravel()).to(clean.dtype)
        of_mask = torch.from_numpy(np.concatenate([noise[rows, :PATCHES], noise[rows, PATCHES:]]))
        given = (clean, sigma[:, None, None, None] * e, sigma, of_mask, RATIO, options["temperature"])
        parts, stages = torch_mae.can_losses(net, *given)
        return can_total(parts, options["weights"]), parts, stages

    pixels = torch.from_numpy(x[:BATCH]).requires_grad_()
    total, parts, stages = losses(model, pixels, list(range(BATCH)))
    by_image = {name: torch.stack(tensor.chunk(2), 1) for name, tensor in stages.items()}
    arrays = result(model, x, pixels, by_image | {"parts": parts}, total)
    recipe = ADAMW | {"betas": [0.9, 0.95]}
    arrays |= trained(model, lambda net, rows: losses(net, torch.from_numpy(x[rows]).double(), rows)[0], recipe)
    return arrays, facts("CAN, tiny", can_total, config, noise, recipe, {
        "x": f"({POOL}, 2, 2, 3, 10, 12): of each image two views, each the clean one and noise e of level 1; the first {BATCH} are used",
        "stages/<name>": "[images, 2 views, …]: latent, projection, prediction; parts are the three losses before their weights",
    }, options=options, sigma=levels.tolist())  # fmt: skip


def can_total(parts: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """Weighted sum of contrast, reconstruction and noise."""
    return (parts * torch.tensor(weights, dtype=parts.dtype)).sum()


def jigsaw_vit() -> tuple[dict, dict]:
    """The arrays and the facts of Jigsaw-ViT."""
    config = SIZES | {"num_classes": 5}
    model, rng, noise = drawn(torch_mae.JigsawViT, config)
    noise = noise[:, :PATCHES]
    x = rng.standard_normal((POOL, 3, *SIZES["img_size"])).astype(np.float32)
    raw = np.exp(2 * rng.standard_normal((POOL, config["num_classes"])))
    target = (raw / raw.sum(1, keepdims=True)).astype(np.float32)
    options = dict(mask_ratio=RATIO, weight=0.1)

    def outputs(net, images, rows):
        keep, _, _ = torch_mae.masked(torch.from_numpy(noise[rows]), RATIO)
        return *net(images, keep), keep

    def loss(net, images, rows):
        logits, places, keep = outputs(net, images, rows)
        wanted = torch.from_numpy(target[rows]).to(images.dtype)
        return torch_mae.jigsaw_loss(logits, wanted, places, keep, options["weight"])

    first, pixels = list(range(BATCH)), torch.from_numpy(x[:BATCH]).requires_grad_()
    logits, places, _ = outputs(model, pixels, first)
    arrays = result(model, x, pixels, {"logits": logits, "places": places}, loss(model, pixels, first))
    recipe = ADAMW | {"betas": [0.9, 0.999]}
    spared = ("pos_embed", "cls_token")
    arrays |= trained(model, lambda net, rows: loss(net, torch.from_numpy(x[rows]).double(), rows), recipe, spared)
    return arrays | {"target": target}, facts("Jigsaw-ViT, tiny", torch_mae.jigsaw_loss, config, noise, recipe, {
        "x": f"({POOL}, 3, 20, 24) images; stages, loss and gradients use the first {BATCH}",
        "target": "probabilities of the classes",
        "stages/<name>": "logits of the classes, and of the positions of the kept patches",
    }, options=options)  # fmt: skip


def facts(what: str, loss: Callable, config: dict, noise: np.ndarray, recipe: dict, arrays: dict, **more) -> dict:
    """What is written beside the arrays."""
    return {
        "what": what,
        **stored.origin("mae", torch_mae.fill, loss),
        "config": config,
        "mask_ratio": RATIO,
        "mask_noise": noise.tolist(),
        **more,
        "training": recipe | {
            "batch": f"step t uses images ({BATCH} t + i) mod {POOL}, i < {BATCH}, each always with its own mask",
            "lr": "base_lr · t / warmup, then base_lr (1 + cos(pi (t - warmup) / (steps - warmup))) / 2",
            "decay": "none on vectors; of Jigsaw-ViT none on class token and positions",
        },
        "zero_gradients": "the middle third of every qkv.bias, the keys'; stored values are noise",
        "arrays": {
            **arrays,
            "weights/<name>, gradients/<name>": "the authors' names and torch's layouts; gradients/x the images'",
            "run/loss, grad_norm": "one value a step, before the update",
            "run/final_norms": "L2 norm of every tensor after the run, in the order of weights/",
        },
    }  # fmt: skip


if __name__ == "__main__":
    stored.main(__doc__, {"mae_tiny": mae, "can_tiny": can, "jigsaw_vit_tiny": jigsaw_vit})
