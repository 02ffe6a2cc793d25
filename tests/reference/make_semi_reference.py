"""Writes tests/fidelity_data/{fixmatch,pseudo_label}_tiny (.npz and .json): trainings with few labels computed by torch.

    python tests/reference/make_semi_reference.py

`make test` and the reports check FixMatch and pseudo-labels against these files. This script and its neighbours import nothing of ours.
"""

import copy
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_semi

POOL, BATCH, LABELLED, SHAPE, CLASSES = 12, 6, 4, (3, 9, 8), 4
CONFIG = dict(units=2, width=4, groups=2, stem=4, in_chans=3, num_classes=CLASSES)
SGD = dict(optimizer="Nesterov", momentum=0.9, weight_decay=0.02, lr=0.02, ema=0.9, steps=stored.STEPS)
# A weight that is not 1, so that leaving it out shows.
FIXMATCH = {
    "hard": dict(threshold=0.44, weight=2.0, soft_temperature=None),
    "soft": dict(threshold=0.44, weight=2.0, soft_temperature=0.5),
}
PSEUDO_LABEL = {
    "google": dict(threshold=0.42, strict=True, sigmoid=False, apart=True, ramp=dict(peak=1.0, start=0, end=16)),
    "lee": dict(threshold=0.0, strict=False, sigmoid=True, apart=False, ramp=dict(peak=3.0, start=10, end=30)),
}
# Two classes alike, at exactly one half each; a sure one; one below one half.
EDGES = dict(
    logits=[[0.0, 0.0, -1e4], [2.0, 0.0, 0.0], [0.1, 0.0, 0.0]],
    strong=[[0.5, -0.5, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]],
    threshold=0.5,
)
MARGIN = 1e-4  # every probability of a training is this far from the threshold: rounding decides nothing


def images() -> dict[str, np.ndarray]:
    """Weak and strong views of POOL unlabelled images, and LABELLED ones: a pattern for each class, with noise."""
    rng = np.random.default_rng(stored.SEED + 1)
    patterns = rng.standard_normal((CLASSES, *SHAPE))
    kinds, labels = np.arange(POOL) % CLASSES, np.arange(LABELLED) % CLASSES
    noise = lambda n: rng.standard_normal((n, *SHAPE))  # noqa: E731
    whole = patterns[kinds] + 0.5 * noise(POOL)
    return {
        "x": (whole + 0.1 * noise(POOL)).astype(np.float32),
        "strong": (whole + 0.8 * noise(POOL)).astype(np.float32),
        "labelled": (patterns[labels] + 0.5 * noise(LABELLED)).astype(np.float32),
        "labels": labels.astype(np.int64),
    }


def far(logits: torch.Tensor, threshold: float) -> None:
    """Checks that no probability is near the threshold, and no two classes near each other."""
    p = logits.detach().softmax(-1).sort(-1).values
    assert (p[:, -1] - threshold).abs().min() > MARGIN
    assert (p[:, -1] - p[:, -2]).min() > MARGIN


def fixmatch_loss(model, data, rows, run, step) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy of the labelled images + weight · the masked one of strong views with the labels of weak ones, by the mean over all; all images in one batch. Also the share that is kept."""
    recipe = FIXMATCH[run]
    batch = torch.cat([data["labelled"], data["x"][rows], data["strong"][rows]])
    known, weak, strong = model(batch)["logits"].split([LABELLED, len(rows), len(rows)])
    far(weak, recipe["threshold"])
    if recipe["soft_temperature"] is None:
        unlabelled, kept = torch_semi.fixmatch(weak, strong, recipe["threshold"])
    else:
        unlabelled, kept = torch_semi.fixmatch_soft(weak, strong, recipe["threshold"], recipe["soft_temperature"])
    supervised = torch_semi.cross_entropy(known, data["labels"]).mean()
    return supervised + recipe["weight"] * unlabelled, kept.mean()


def pseudo_label_loss(model, data, rows, run, step) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the labelled images + weight(step) · that of the unlabelled ones with their own most likely class; with `apart` in two batches, of which the first alone moves running statistics. Also the share that is kept."""
    recipe = PSEUDO_LABEL[run]
    if recipe["apart"]:
        known = model(data["labelled"])["logits"]
        norms = [layer for layer in model.modules() if isinstance(layer, torch_semi.Norm)]
        for layer in norms:
            layer.kept = True
        unknown = model(data["x"][rows])["logits"]
        for layer in norms:
            layer.kept = False
    else:
        both = model(torch.cat([data["labelled"], data["x"][rows]]))["logits"]
        known, unknown = both.split([LABELLED, len(rows)])
    far(unknown, recipe["threshold"])
    if recipe["sigmoid"]:
        labels = torch_semi.most_likely(unknown)[1]
        unlabelled, kept = torch_semi.sigmoid_cross_entropy(unknown, labels), torch.ones(len(rows))
        supervised = torch_semi.sigmoid_cross_entropy(known, data["labels"])
    else:
        unlabelled, kept = torch_semi.pseudo_label(unknown, recipe["threshold"], recipe["strict"])
        supervised = torch_semi.cross_entropy(known, data["labels"]).mean()
    return supervised + torch_semi.ramp(step, **recipe["ramp"]) * unlabelled, kept.mean()


def filled(dtype=torch.float32):
    """A network with the stored weights, in training mode."""
    model = torch_semi.WideResNet(**CONFIG)
    with torch.no_grad():
        torch_semi.fill(model, stored.SEED)
    return model.to(dtype).train()


def trained(loss, data: dict[str, torch.Tensor], run: str) -> dict[str, np.ndarray]:
    """Loss and norm of the gradient of every step, length of every tensor and of its average after the last."""
    model = filled(torch.float64)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": SGD["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=SGD["momentum"], nesterov=True)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    curve = []
    for step in range(SGD["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = SGD["lr"] * math.cos(7 * math.pi * step / (16 * SGD["steps"]))
        rows = [(step * BATCH + i) % POOL for i in range(BATCH)]
        optimizer.zero_grad()
        value, kept = loss(model, data, rows, run, step)
        value.backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        curve.append([value.item(), norm.item(), kept.item()])
        optimizer.step()
        for name, tensor in model.state_dict().items():
            average[name] = SGD["ema"] * average[name] + (1 - SGD["ema"]) * tensor
    lengths = [np.linalg.norm(a) for a in [*torch_semi.arrays(model).values(), *(a.numpy() for a in average.values())]]
    names = ("loss", "grad_norm", "kept")
    return {f"{run}/{name}": np.array(curve)[:, i] for i, name in enumerate(names)} | {
        f"{run}/final_norms": np.array(lengths)
    }


def of(loss, runs: dict, edges) -> dict[str, np.ndarray]:
    """The arrays of one file: one pass of the first of `runs`, the edges, every training."""
    pool = images()
    data = {name: torch.from_numpy(array) for name, array in pool.items()}
    model = filled()
    weights = torch_semi.arrays(model)
    arrays = dict(pool)
    for part in ("network", "average"):
        arrays |= {f"weights/{part}.{name}": array for name, array in weights.items()}
    whole = copy.deepcopy(model).eval()
    with torch.no_grad():
        arrays |= {f"stages/{name}": a.numpy() for name, a in whole(data["x"][:BATCH]).items()}
    arrays |= {f"stages/{name}": np.float32(value) for name, value in edges().items()}
    rows, run = list(range(BATCH)), next(iter(runs))
    data["x"].requires_grad_()
    value, _ = loss(model, data, rows, run, runs[run].get("ramp", {}).get("end", 0))
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": data["x"].grad[:BATCH].numpy()}
    gradients = torch_semi.arrays(model, lambda p: p.grad, running=False)
    arrays |= {f"gradients/network.{name}": a for name, a in gradients.items()}
    exact = {n: torch.from_numpy(a.astype(np.float64) if a.dtype == np.float32 else a) for n, a in pool.items()}
    for run in runs:
        arrays |= trained(loss, exact, run)
    return arrays


def fixmatch_edges() -> dict[str, np.ndarray]:
    """What is kept of the edges, and what they cost."""
    loss, kept = torch_semi.fixmatch(torch.tensor(EDGES["logits"]), torch.tensor(EDGES["strong"]), EDGES["threshold"])
    return {"edges_kept": kept.numpy(), "edges_loss": loss.numpy()}


def pseudo_label_edges() -> dict[str, np.ndarray]:
    """What is kept of the edges, and what they cost, where the threshold must be passed and where it is reached."""
    logits, made = torch.tensor(EDGES["logits"]), {}
    for name, strict in (("passed", True), ("reached", False)):
        loss, kept = torch_semi.pseudo_label(logits, EDGES["threshold"], strict)
        made |= {f"edges_{name}_kept": kept.numpy(), f"edges_{name}_loss": loss.numpy()}
    return made


def facts(what: str, loss, runs: dict) -> dict:
    """What is written beside the arrays."""
    return {
        "what": what,
        **stored.origin("semi", torch_semi.fill, loss),
        "config": CONFIG,
        "edges": EDGES,
        "training": SGD | {
            "runs": runs,
            "batch": f"step t uses unlabelled images ({BATCH} t + i) mod {POOL}, i < {BATCH}, and all {LABELLED} labelled ones",
            "rate": "lr · cos(7 pi t / (16 steps))",
            "decay": "added to the gradient of what is no vector",
            "average": "ema · average + (1 - ema) · tensor after every update, of weights and running statistics",
        },
        "arrays": {
            "x, strong, labelled": f"images (N, {', '.join(map(str, SHAPE))}): weak and strong views of the unlabelled, the labelled",
            "weights/network.<name>": "plain names, linear weights (in, out); average.<name> the average, which begins as a copy",
            "stages/<name>": "maps as (B, H, W, C), in evaluation mode; stages/edges_<name> of facts' `edges`",
            "gradients/<name>": "of the first run, in training mode, unlabelled loss at its full weight",
            "<run>/loss, grad_norm, kept": "one value a step, before the update",
            "<run>/final_norms": "L2 norm of every tensor after the run, in the order of weights/; running variances of biased batch variances",
        },
    }  # fmt: skip


if __name__ == "__main__":
    stored.main(
        __doc__,
        {
            "fixmatch_tiny": lambda: (
                of(fixmatch_loss, FIXMATCH, fixmatch_edges),
                facts("FixMatch with a tiny wide residual network", fixmatch_loss, FIXMATCH),
            ),
            "pseudo_label_tiny": lambda: (
                of(pseudo_label_loss, PSEUDO_LABEL, pseudo_label_edges),
                facts("Pseudo-labels with a tiny wide residual network", pseudo_label_loss, PSEUDO_LABEL),
            ),
        },
    )
