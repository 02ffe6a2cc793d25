"""Writes tests/fidelity_data/vit_tiny.npz and .json: a tiny ViT computed by torch and transformers.

    python tests/reference/make_vit_reference.py

The file ships with the suite, so that `make test` and the report check ViT against another
implementation without installing it. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_vit

CONFIG = dict(
    img_size=32, patch_size=8, in_chans=3, num_classes=10, embed_dim=32, depth=3, num_heads=4, mlp_dim=96,
    qkv_bias=True, act="gelu", norm_eps=1e-6,
)  # fmt: skip
RUNS = {
    "adamw": dict(loss="soft cross-entropy", **stored.ADAMW),
    "bce": dict(loss="binary cross-entropy", **stored.ADAMW),
    "sgd": dict(loss="soft cross-entropy", optimizer="SGD", lr=0.03, momentum=0.9, weight_decay=0.0, clip=1.0),
}
_LOSSES = {
    "soft cross-entropy": torch_vit.soft_cross_entropy,
    "binary cross-entropy": torch.nn.functional.binary_cross_entropy_with_logits,
}


def compute() -> dict[str, np.ndarray]:
    """Everything that goes into the file."""
    rng, x = stored.pool(CONFIG["img_size"])
    soft = rng.dirichlet(np.full(10, 0.3), stored.POOL).astype(np.float32)
    multi = (rng.random((stored.POOL, 10)) < 0.25).astype(np.float32)
    arrays = {"x": x, "soft_targets": soft, "multi_targets": multi}
    soft, multi = torch.from_numpy(soft), torch.from_numpy(multi)

    model = torch_vit.build(**CONFIG)
    arrays |= stored.one_pass(
        model, x, torch_vit.forward, lambda s: torch_vit.soft_cross_entropy(s["logits"], soft[: stored.BATCH])
    )
    for name, recipe in RUNS.items():
        result = stored.run(model, x, multi if name == "bce" else soft, recipe, loss=_LOSSES[recipe["loss"]])
        arrays |= {f"runs/{name}/{key}": values for key, values in result.items()}
    return arrays


def facts() -> dict:
    """What the arrays are."""
    return stored.facts(
        what="A tiny ViT with seeded random weights, computed by Hugging Face transformers on torch. Numbers only.",
        script=__file__,
        implementation="transformers.ViTForImageClassification",
        config=CONFIG,
        arrays={
            "soft_targets": "rows of probabilities",
            "multi_targets": "0/1, several classes an image",
            "stages/<name>": "as VisionTransformer.forward_intermediates names them",
            "loss": "soft cross-entropy of stages/logits",
        },
        runs=RUNS,
    )


if __name__ == "__main__":
    stored.main(__doc__, {"vit_tiny": lambda: (compute(), facts())})
