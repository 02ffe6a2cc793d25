"""Writes tests/fidelity_data/vit_tiny.npz and .json: a tiny ViT computed by torch and transformers.

    python tests/reference/make_vit_reference.py

The file ships with the suite, so that `make test` and the report check ViT against another
implementation without installing it. This script and its neighbour import nothing of ours.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
import torch_vit

SEED = 2021
CONFIG = dict(
    img_size=32, patch_size=8, in_chans=3, num_classes=10, embed_dim=32, depth=3, num_heads=4, mlp_dim=96,
    qkv_bias=True, act="gelu", norm_eps=1e-6,
)  # fmt: skip
POOL, BATCH, STEPS, WARMUP = 12, 4, 40, 5
RUNS = {
    "adamw": dict(
        loss="soft cross-entropy", optimizer="AdamW", lr=1e-3, weight_decay=0.05, betas=[0.9, 0.999], clip=None
    ),
    "bce": dict(
        loss="binary cross-entropy", optimizer="AdamW", lr=1e-3, weight_decay=0.05, betas=[0.9, 0.999], clip=None
    ),
    "sgd": dict(loss="soft cross-entropy", optimizer="SGD", lr=0.03, momentum=0.9, weight_decay=0.0, clip=1.0),
}  # fmt: skip
_LOSSES = {
    "soft cross-entropy": torch_vit.soft_cross_entropy,
    "binary cross-entropy": torch.nn.functional.binary_cross_entropy_with_logits,
}


def rates(peak: float) -> list[float]:
    """Linear warm-up from peak/WARMUP, then constant: the schedule is not what is compared here."""
    return [peak * min(1.0, (step + 1) / WARMUP) for step in range(STEPS)]


def compute() -> dict[str, np.ndarray]:
    """Everything that goes into the file."""
    rng = np.random.default_rng(SEED + 1)
    x = rng.standard_normal((POOL, 3, 32, 32)).astype(np.float32)
    soft = rng.dirichlet(np.full(10, 0.3), POOL).astype(np.float32)
    multi = (rng.random((POOL, 10)) < 0.25).astype(np.float32)
    arrays = {"x": x, "soft_targets": soft, "multi_targets": multi}
    inputs, soft, multi = (torch.from_numpy(a) for a in (x, soft, multi))

    model = torch_vit.build(**CONFIG)
    arrays |= {f"weights/{name}": array for name, array in torch_vit.fill(model, SEED).items()}
    pixels = inputs[:BATCH].clone().requires_grad_()
    stages = torch_vit.forward(model, pixels)
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    loss = torch_vit.soft_cross_entropy(stages["logits"], soft[:BATCH])
    loss.backward()
    arrays["loss"] = np.float64(loss.item())
    arrays |= {f"gradients/{name}": a for name, a in torch_vit.stacked(model, lambda p: p.grad).items()}
    arrays["gradients/x"] = pixels.grad.numpy()

    for name, run in RUNS.items():
        torch_vit.fill(model, SEED)
        if run["optimizer"] == "AdamW":
            groups = torch_vit.decay_groups(model, run["weight_decay"])
            optimizer = torch.optim.AdamW(groups, lr=run["lr"], betas=tuple(run["betas"]), eps=1e-8)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=run["lr"], momentum=run["momentum"])
        curve = torch_vit.train(
            model,
            inputs,
            multi if name == "bce" else soft,
            loss=_LOSSES[run["loss"]],
            optimizer=optimizer,
            lrs=rates(run["lr"]),
            batch=BATCH,
            clip=run["clip"],
        )
        arrays |= {f"runs/{name}/{key}": values for key, values in curve.items()}
        final = torch_vit.stacked(model)
        norms = [np.linalg.norm(array.astype(np.float64)) for array in final.values()]
        arrays[f"runs/{name}/final_norms"] = np.array(norms)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parents[1] / "fidelity_data" / "vit_tiny.npz"
    parser.add_argument("--output", type=Path, default=default)
    output = parser.parse_args().output
    torch.set_num_threads(1)  # one order of summation
    arrays = compute()
    np.savez_compressed(output, **arrays)
    sidecar = {
        "what": "A tiny ViT with seeded random weights, computed by Hugging Face transformers on torch. Numbers only.",
        "made_by": "tests/reference/make_vit_reference.py",
        "implementation": "transformers.ViTForImageClassification, attn_implementation='eager', float32, CPU, 1 thread",
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "licence": "made by this project, released under its licence",
        "seed": SEED,
        "config": CONFIG,
        "filling": " ".join(torch_vit.fill.__doc__.split()),
        "arrays": {
            "x": f"({POOL}, 3, 32, 32) images; `stages`, `loss` and `gradients` use the first {BATCH}",
            "soft_targets": "rows of probabilities",
            "multi_targets": "0/1, several classes an image",
            "weights/<name>": "timm's names, torch's layouts (a linear weight is (out, in))",
            "stages/<name>": "as VisionTransformer.forward_intermediates names them",
            "loss": "soft cross-entropy of stages/logits",
            "gradients/<name>": "of that loss; torch's layouts; gradients/x is the images' gradient",
            "runs/<run>/loss, grad_norm": "one value a step, before the update; the norm is before clipping",
            "runs/<run>/final_norms": "L2 norm of every parameter after the run, in the order of weights/",
        },
        "zero_gradients": "the key third of every attn.qkv.bias: 0 in exact arithmetic, stored values are noise",
        "training": {
            "steps": STEPS,
            "warmup": WARMUP,
            "batch": f"step t uses images ({BATCH} t + i) mod {POOL}, i < {BATCH}",
            "lr": f"lr * min(1, (t + 1) / {WARMUP})",
            "decay": "none on vectors, cls_token and pos_embed",
            "runs": RUNS,
        },
    }
    output.with_suffix(".json").write_text(json.dumps(sidecar, indent=1) + "\n", encoding="utf-8")
    print(f"{output}: {len(arrays)} arrays, {output.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
