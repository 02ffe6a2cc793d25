"""Writes tests/fidelity_data/litv2_tiny (.npz and .json): a tiny LITv2 computed by torch.

    python tests/reference/make_litv2_reference.py

`make test` and the reports check LITv2 against this file. This script and its neighbours import nothing of ours.
"""

import copy
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_litv2

POOL, BATCH, SHAPE = 8, 4, (3, 64, 32)
CONFIG = dict(
    img_size=[64, 32], patch_size=4, in_chans=3, num_classes=5, embed_dim=6, depths=[1, 1, 2, 1], num_heads=[1, 1, 4, 4],
    local_ws=[0, 0, 2, 1], alpha=0.9, mlp_ratio=2,
)  # fmt: skip
# The lowest rate is the offsets' own base, as in the recipe; a limit that some steps reach and others do not.
TRAINING = dict(
    optimizer="AdamW", base_lr=4e-3, offset_factor=0.05, warmup=5, warmup_lr=1e-4, min_lr=2e-4, weight_decay=0.05,
    betas=[0.9, 0.999], eps=1e-8, clip=2.0,
)  # fmt: skip


def rate(step: int, base: float) -> float:
    """Linear warm-up, then what is left of a cosine over all steps, stepped after the update."""
    t, low, first = max(step - 1, 0), TRAINING["min_lr"], TRAINING["warmup_lr"]
    if t < TRAINING["warmup"]:
        return first + t * (base - first) / TRAINING["warmup"]
    return low + (base - low) * (1 + math.cos(math.pi * t / stored.STEPS)) / 2


def groups(model) -> list[dict]:
    """Decayed, not decayed, and the weights that make the offsets."""
    found = {"decayed": [], "plain": [], "offsets": []}
    for name, p in model.named_parameters():
        kind = "offsets" if name.endswith("conv_offset.weight") else "plain" if p.ndim == 1 else "decayed"
        found[kind].append(p)
    decay, base = TRAINING["weight_decay"], TRAINING["base_lr"]
    return [
        {"params": found["decayed"], "weight_decay": decay, "base": base},
        {"params": found["plain"], "weight_decay": 0.0, "base": base},
        {"params": found["offsets"], "weight_decay": decay, "base": base * TRAINING["offset_factor"]},
    ]


def trained(model, x: torch.Tensor, target: torch.Tensor) -> dict[str, np.ndarray]:
    """Loss and norm of the gradient of every step, length of every tensor after the last."""
    model.train()
    betas = tuple(TRAINING["betas"])
    optimizer = torch.optim.AdamW(groups(model), lr=0.0, betas=betas, eps=TRAINING["eps"])
    curve = []
    for step in range(stored.STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, group["base"])
        rows = [(step * BATCH + i) % POOL for i in range(BATCH)]
        optimizer.zero_grad()
        loss = torch_litv2.cross_entropy(model(x[rows]), target[rows])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING["clip"])
        curve.append([loss.item(), norm.item()])
        optimizer.step()
    lengths = [np.linalg.norm(a) for a in torch_litv2.arrays(model).values()]
    return {
        "run/loss": np.array(curve)[:, 0],
        "run/grad_norm": np.array(curve)[:, 1],
        "run/final_norms": np.array(lengths),
    }


def litv2() -> tuple[dict, dict]:
    """The arrays and the facts."""
    model = torch_litv2.LITv2(**CONFIG)
    with torch.no_grad():
        torch_litv2.fill(model, stored.SEED)
    rng = np.random.default_rng(stored.SEED + 1)
    x = rng.standard_normal((POOL, *SHAPE)).astype(np.float32)
    raw = np.exp(2 * rng.standard_normal((POOL, CONFIG["num_classes"])))
    target = (raw / raw.sum(1, keepdims=True)).astype(np.float32)
    arrays = {"x": x, "target": target} | {f"weights/{name}": a for name, a in torch_litv2.arrays(model).items()}
    pixels, wanted = torch.from_numpy(x[:BATCH]).requires_grad_(), torch.from_numpy(target[:BATCH])
    training = copy.deepcopy(model).train()
    with torch.no_grad():
        seen = training(pixels)
    model.eval()
    stages = model(pixels)
    loss = torch_litv2.cross_entropy(stages, wanted)
    loss.backward()
    stages |= {f"training_{name}": seen[name] for name in ("merging_1", "merging_2", "merging_3", "logits")}
    moved = [
        m.dconv.conv_offset(stages[f"stage_{i}"].permute(0, 3, 1, 2))
        for i, m in enumerate(s.downsample for s in model.layers[:-1])
    ]
    arrays |= {f"stages/{name}": a.detach().numpy() for name, a in stages.items()}
    arrays |= {f"gradients/{n}": a for n, a in torch_litv2.arrays(model, lambda p: p.grad, running=False).items()}
    arrays |= {"loss": np.float64(loss.item()), "gradients/x": pixels.grad.numpy()}
    arrays |= trained(training_copy(model), torch.from_numpy(x).double(), torch.from_numpy(target).double())
    return arrays, facts([float(m.detach().abs().mean()) for m in moved])


def training_copy(model):
    """A fresh one with the stored weights, in float64."""
    with torch.no_grad():
        torch_litv2.fill(model, stored.SEED)
    return copy.deepcopy(model).double()


def facts(moved: list[float]) -> dict:
    """What is written beside the arrays."""
    return {
        "what": "LITv2, tiny, with offsets that move",
        **stored.origin("litv2", torch_litv2.fill, torch_litv2.cross_entropy),
        "config": CONFIG,
        "mean_offset": [round(one, 3) for one in moved],
        "training": TRAINING | {
            "steps": stored.STEPS,
            "batch": f"step t uses images ({BATCH} t + i) mod {POOL}, i < {BATCH}",
            "lr": "t = max(step - 1, 0); below warmup linear from warmup_lr to base, then min_lr + (base - min_lr) (1 + cos(pi t / steps)) / 2",
            "groups": "conv_offset.weight has the base base_lr · offset_factor, and decays; vectors do not decay; clip is of the global norm",
        },
        "zero_gradients": "key parts: the first half of l_kv.bias, the middle third of h_qkv.bias; stored values are noise",
        "arrays": {
            "x": f"({POOL}, {', '.join(map(str, SHAPE))}) images; stages, loss and gradients use the first {BATCH}",
            "target": "probabilities of the classes",
            "weights/<name>, gradients/<name>": "the authors' names and torch's layouts; gradients in evaluation mode, gradients/x the images'",
            "stages/<name>": "maps as (B, H, W, C), in evaluation mode; stages/training_<name> in training mode",
            "run/loss, grad_norm": "one value a step in training mode, before the update and before clipping",
            "run/final_norms": "L2 norm of every tensor after the run, in the order of weights/; running variances of biased batch variances",
        },
    }  # fmt: skip


if __name__ == "__main__":
    stored.main(__doc__, {"litv2_tiny": litv2})
