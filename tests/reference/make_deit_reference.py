"""Writes tests/fidelity_data/deit_tiny and deit3_tiny (.npz and .json): tiny models computed by torch and transformers.

    python tests/reference/make_deit_reference.py

`make test` and the reports check DeiT and DeiT III against these files. This script and its
neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_deit
import torch_vit

# 17 or 18 tokens: every position, head and token has its own numbers, and both files stay small.
CONFIG = dict(
    img_size=16, patch_size=4, in_chans=3, num_classes=10, embed_dim=24, depth=3, num_heads=3, mlp_dim=64,
    qkv_bias=True, act="gelu", norm_eps=1e-6,
)  # fmt: skip
DEIT3 = {key: value for key, value in CONFIG.items() if key != "mlp_dim"} | dict(mlp_ratio=3)
LOSS = dict(mode="soft", kl="batchmean", alpha=0.5, tau=2.0)
RUNS = {
    "hard": dict(loss="hard distillation", mode="hard", alpha=0.5, **stored.ADAMW),
    # The paper's weights of the soft terms, and the official code's defaults with its division by B·K.
    "soft": dict(loss="soft distillation (batchmean)", mode="soft", kl="batchmean", alpha=0.1, tau=3.0, **stored.ADAMW),
    "numel": dict(loss="soft distillation (numel)", mode="soft", kl="numel", alpha=0.5, tau=1.0, **stored.ADAMW),
}
RUNS3 = {
    "bce": dict(loss="binary cross-entropy", **stored.ADAMW),
    "lamb": dict(
        loss="binary cross-entropy", optimizer="LAMB", lr=4e-3, weight_decay=0.05, betas=[0.9, 0.999], clip=1.0
    ),
}  # fmt: skip


def mixed_targets(rng: np.random.Generator) -> np.ndarray:
    """[POOL, K]: λ of one class and 1 - λ of another, the others exactly 0, as Mixup without smoothing makes them."""
    targets = np.zeros((stored.POOL, CONFIG["num_classes"]), np.float32)
    for row in targets:
        first, second = rng.choice(len(row), 2, replace=False)
        row[first] = rng.uniform(0.2, 0.8)
        row[second] = 1 - row[first]
    return targets


def compute() -> dict[str, np.ndarray]:
    """Everything of deit_tiny."""
    rng, x = stored.pool(CONFIG["img_size"])
    soft = rng.dirichlet(np.full(10, 0.3), stored.POOL).astype(np.float32)
    teacher = (2 * rng.standard_normal((stored.POOL, 10))).astype(np.float32)
    given = torch.from_numpy(np.stack([soft, teacher], 1))  # [POOL, 2, K]
    model = torch_deit.build(**CONFIG)
    criterion = torch_deit.distillation(LOSS)
    arrays = {"x": x, "soft_targets": soft, "teacher_logits": teacher}
    arrays |= stored.one_pass(
        model,
        x,
        torch_deit.forward,
        lambda s: criterion((s["cls_logits"], s["dist_logits"]), given[: stored.BATCH]),
    )
    for name, recipe in RUNS.items():
        result = stored.run(model, x, given, recipe, loss=torch_deit.distillation(recipe), read=torch_deit.both)
        arrays |= {f"runs/{name}/{key}": values for key, values in result.items()}
    return arrays


def positives(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """DeiT III's loss: every class of a mixed image counts in full."""
    return binary_cross_entropy_with_logits(logits, (target > 0).float())


def compute3() -> dict[str, np.ndarray]:
    """Everything of deit3_tiny."""
    rng, x = stored.pool(DEIT3["img_size"])
    targets = mixed_targets(rng)
    given = torch.from_numpy(targets)
    model = torch_deit.build_deit3(**DEIT3)
    arrays = {"x": x, "mixed_targets": targets}
    arrays |= stored.one_pass(
        model, x, torch_vit.forward, lambda s: positives(s["logits"], given[: stored.BATCH])
    )  # fmt: skip
    for name, recipe in RUNS3.items():
        result = stored.run(model, x, given, recipe, loss=positives)
        arrays |= {f"runs/{name}/{key}": values for key, values in result.items()}
    return arrays


def facts() -> dict:
    """What the arrays of deit_tiny are."""
    return stored.facts(
        what="A tiny distilled DeiT with seeded random weights, computed by Hugging Face transformers on torch. "
        "Numbers only.",
        script=__file__,
        implementation="transformers.DeiTForImageClassificationWithTeacher, losses by torch.nn.functional",
        config=CONFIG,
        arrays={
            "soft_targets": "rows of probabilities",
            "teacher_logits": "what a teacher says of every image",
            "stages/<name>": "as forward_intermediates names them; cls_logits and dist_logits are the two heads',"
            " logits their mean",
            "loss": "of the two heads' logits, see `loss`",
        },
        runs=RUNS,
        loss=LOSS,
    )


def facts3() -> dict:
    """What the arrays of deit3_tiny are."""
    return stored.facts(
        what="A tiny DeiT III with seeded random weights, computed by Hugging Face transformers on torch. "
        "Numbers only.",
        script=__file__,
        implementation="transformers' Dinov2Layer and Dinov2PatchEmbeddings with DeiT III's embedding, LAMB from its "
        "formulas (tests/reference/torch_deit.py, stored.py)",
        config=DEIT3,
        arrays={
            "mixed_targets": "two classes an image, the others 0; the loss takes every one above 0 as 1",
            "stages/<name>": "as forward_intermediates names them",
            "loss": "binary cross-entropy of stages/logits",
        },
        runs=RUNS3,
    )


if __name__ == "__main__":
    stored.main(
        __doc__, {"deit_tiny": lambda: (compute(), facts()), "deit3_tiny": lambda: (compute3(), facts3())}
    )  # fmt: skip
