"""Writes tests/fidelity_data/dino_tiny (.npz and .json): a tiny DINO trained by torch, student and teacher.

    python tests/reference/make_dino_reference.py

`make test` and the reports check DINO against this file. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_dino

POOL, BATCH = 8, 4
BACKBONE = dict(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2)
LOCAL, LOCALS = 8, 2
HEAD = dict(out_dim=20, hidden_dim=16, bottleneck_dim=8)
# A limit that some tensors reach and others do not; an average, a centre and a decay that move within 16 steps.
TRAINING = dict(
    steps=16, steps_per_epoch=4, lr=4e-3, min_lr=1e-4, warmup_epochs=1, weight_decay=[0.04, 0.4], momentum=0.9,
    warmup_temperature=0.04, temperature=0.07, temperature_warmup_epochs=3, student_temperature=0.1, center_momentum=0.9,
    freeze_epochs=1, clip=0.15,
)  # fmt: skip


def crops(sheet: torch.Tensor) -> list[torch.Tensor]:
    """The crops of sheets [B, 3, S, 2 S + s]: two global ones side by side, and right of them the local ones, one below the other."""
    size = BACKBONE["img_size"]
    large = [sheet[..., :size], sheet[..., size : 2 * size]]
    return large + [sheet[:, :, LOCAL * i : LOCAL * (i + 1), 2 * size :] for i in range(LOCALS)]


def networks(free: bool = False) -> tuple[torch_dino.Network, torch_dino.Network, torch.Tensor]:
    """Student, teacher and centre with the stored weights, which are not alike."""
    rng, (outputs, hidden, bottleneck) = np.random.default_rng(stored.SEED), HEAD.values()
    made = [torch_dino.Network(BACKBONE, outputs, hidden, bottleneck, trained) for trained in (free, False)]
    with torch.no_grad():
        for network in made:
            torch_dino.fill(network, rng)
    return *made, torch.from_numpy(0.1 * rng.standard_normal((1, outputs)).astype(np.float32))


def named(student, teacher, center, what=lambda p: p) -> dict[str, np.ndarray]:
    """`what(tensor)` of everything by name, linear weights as (in, out); without those it gives None of."""
    tensors = {f"student.{n}": p for n, p in student.named_parameters()}
    tensors |= {f"teacher.{n}": p for n, p in teacher.named_parameters()} | {"criterion.center": center}
    found = {n: what(t) for n, t in tensors.items()}
    kept = {n: t.detach().numpy().copy() for n, t in found.items() if t is not None}
    return {n: a if n == "criterion.center" or a.ndim != 2 else a.T.copy() for n, a in kept.items()}


def dino() -> tuple[dict, dict]:
    """The arrays and the facts."""
    student, teacher, center = networks()
    side = BACKBONE["img_size"]
    rng = np.random.default_rng(stored.SEED + 1)
    x = rng.standard_normal((POOL, 3, side, 2 * side + LOCAL)).astype(np.float32)
    arrays = {"x": x} | {f"weights/{n}": a for n, a in named(student, teacher, center).items()}
    sheet = torch.from_numpy(x[:BATCH]).requires_grad_()
    views = crops(sheet)
    outputs, guessed = teacher(views[:2]), student(views)
    q = torch_dino.targets(outputs, center, torch_dino.temperature(TRAINING, 0))
    loss = torch_dino.cross_entropy(guessed, q, TRAINING["student_temperature"])
    loss.backward()
    kept = TRAINING["center_momentum"]
    stages = {
        "features": student.backbone(views[0]), "features_local": student.backbone(views[2]), "student": guessed,
        "teacher": outputs, "targets": q, "entropy": torch_dino.entropy(q)[None],
        "center": kept * center + (1 - kept) * outputs.mean(0, keepdim=True),
    }  # fmt: skip
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    of_student = named(student, teacher, center, lambda p: p.grad)
    arrays |= {f"gradients/{n}": a for n, a in of_student.items() if n.startswith("student.")}
    arrays |= {"loss": np.float64(loss.item()), "gradients/x": sheet.grad.numpy()}
    for run in ("frozen", "free"):
        arrays |= {f"{run}/{name}": array for name, array in trained(x, run == "free").items()}
    return arrays, facts()


def trained(x: np.ndarray, free: bool) -> dict[str, np.ndarray]:
    """A training in float64 from the stored weights."""
    student, teacher, center = (part.double() for part in networks(free))
    sheets = torch.from_numpy(x).double()

    def crops_at(step: int) -> list[torch.Tensor]:
        return crops(sheets[[(step * BATCH + i) % POOL for i in range(BATCH)]])

    curves = torch_dino.train(student, teacher, center, crops_at, TRAINING)
    names = [n for n, _ in student.named_parameters()]
    settled = sorted(n for n in names if not n.endswith("qkv.bias"))
    order = [names.index(n) for n in settled]
    curves |= {kind: curves[kind][:, order] for kind in ("gradients", "student", "teacher")}
    final = [np.linalg.norm(a) for a in named(student, teacher, center).values()]
    return curves | {"final_norms": np.array(final)}


def facts() -> dict:
    """What is written beside the arrays."""
    return {
        "what": "DINO, tiny: student, teacher, centre; two global crops and two local ones",
        **stored.origin("dino", torch_dino.fill, torch_dino.cross_entropy),
        "config": {"backbone": BACKBONE, "local_size": LOCAL, "local_crops": LOCALS, "head": HEAD},
        "training": TRAINING | {
            "optimizer": "AdamW, betas 0.9 and 0.999, eps 1e-8; vectors do not decay",
            "batch": f"step t uses sheets ({BATCH} t + i) mod {POOL}, i < {BATCH}",
            "runs": "frozen: the lengths g of the student's last layer stay at 1; free: they are trained",
            "order": "loss by the old centre; each gradient clipped by its own norm; in the first epochs those of the last layer are None; update; teacher; centre",
        },
        "arrays": {
            "x": f"({POOL}, 3, S, 2 S + s) sheets: two global crops, right of them the local ones, one below the other; stages, loss and gradients use the first {BATCH}",
            "weights/<name>, gradients/<name>": "the authors' names, linear weights as (in, out); criterion.center the centre; gradients of the student, gradients/x the sheets'",
            "stages/<name>": "class tokens of one global and one local crop by the student; outputs of both networks; targets and their entropy; the centre after the step",
            "<run>/loss, grad_norm, entropy, center": "one a step: before the update and before clipping; the centre after it",
            "<run>/gradients, student, teacher": "norms of each tensor a step, without qkv.bias, names sorted: gradients before clipping, weights after the step",
            "<run>/final_norms": "L2 norm of every tensor after the run, in the order of weights/",
        },
    }  # fmt: skip


if __name__ == "__main__":
    stored.main(__doc__, {"dino_tiny": dino})
