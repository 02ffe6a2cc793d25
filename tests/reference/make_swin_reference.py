"""Writes tests/fidelity_data/swin_tiny (.npz and .json): a tiny Swin Transformer computed by timm and torch.

    python tests/reference/make_swin_reference.py

`make test` and the reports check Swin against this file. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_swin

# Maps of 8x8 in shifted windows of 4, merged to 4x4: one window, which is not shifted.
CONFIG = dict(
    img_size=16, patch_size=2, in_chans=3, num_classes=10, embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=4,
    mlp_ratio=4.0, qkv_bias=True, drop_path_rate=0.0,
)  # fmt: skip
SCHEDULE = dict(base=1e-3, warmup_lr=1e-6, min_lr=1e-5, warmup=5, total=stored.STEPS, prefix=False)
ADAMW = dict(betas=[0.9, 0.999], weight_decay=0.05)
RUNS = {
    "published": dict(clip=5.0, schedule=SCHEDULE, **ADAMW),
    "clipped": dict(clip=1.0, schedule=SCHEDULE | dict(prefix=True), **ADAMW),
}


def compute() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the facts."""
    rng, x = stored.pool(CONFIG["img_size"])
    targets = rng.dirichlet(np.full(CONFIG["num_classes"], 0.3), stored.POOL)
    model = torch_swin.build(**CONFIG)
    arrays = {"x": x, "soft_targets": targets}
    arrays |= {f"weights/{name}": array for name, array in torch_swin.fill(model, stored.SEED).items()}
    pixels = torch.from_numpy(x[: stored.BATCH]).requires_grad_()
    stages = torch_swin.forward(model, pixels)
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    value = torch_swin.loss(stages["logits"], torch.from_numpy(targets[: stored.BATCH]).float())
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": pixels.grad.numpy()}
    arrays |= {f"gradients/{name}": a for name, a in torch_swin.arrays(model, lambda p: p.grad).items()}
    for name, recipe in RUNS.items():
        torch_swin.fill(model.float(), stored.SEED)
        result = torch_swin.train(model, x, targets, recipe, batch=stored.BATCH)
        arrays |= {f"runs/{name}/{key}": values for key, values in result.items()}
    return arrays, facts()


def facts() -> dict:
    """What is written beside the arrays."""
    origin = stored.origin("swin", torch_swin.fill, torch_swin.loss)
    return {
        "what": "A tiny Swin Transformer with seeded random weights, computed by timm on torch. Numbers only.",
        **origin,
        "implementation": f"timm.models.swin_transformer.SwinTransformer; {origin['implementation']}",
        "versions": {**origin["versions"], "timm": torch_swin.timm().__version__},
        "config": CONFIG,
        "arrays": {
            "x": f"({stored.POOL}, 3, 16, 16) images; `stages`, `loss` and `gradients` use the first {stored.BATCH}",
            "soft_targets": "rows of probabilities",
            "weights/<name>, gradients/<name>": "timm's names, torch's layouts (a linear weight is (out, in))",
            "stages/<name>": "maps (B, h, w, C), as SwinTransformer.forward_intermediates names them",
            "runs/<run>/loss, grad_norm": "one value an update, before it; the norm is before clipping",
            "runs/<run>/final_norms": "L2 norm of every parameter after the run, in the order of weights/",
        },
        "zero_gradients": "the key third of every attn.qkv.bias: 0 in exact arithmetic, stored values are noise",
        "training": {
            "steps": stored.STEPS,
            "batch": f"update t uses images ({stored.BATCH} t + i) mod {stored.POOL}, i < {stored.BATCH}",
            "rate": " ".join(torch_swin.rate.__doc__.split()),
            "decay": "none on vectors and bias tables",
            "runs": RUNS,
        },
    }


if __name__ == "__main__":
    stored.main(__doc__, {"swin_tiny": compute})
