"""Writes tests/fidelity_data/simclr_tiny (.npz and .json): a small residual network with SimCLR's head, trained by torch.

    python tests/reference/make_simclr_reference.py

`make test` and the reports check SimCLR against this file. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_simclr

POOL, BATCH, SIDE = 16, 8, 12
CONFIG = dict(width=8, out=8, layers=2)
# The rate changes all the way, so that it matters whether it stands inside the velocity.
TRAINING = dict(steps=20, lr=0.2, warmup=4, momentum=0.9, trust=1e-3, temperature=0.5)
DECAYS = {"decayed": 1e-2, "plain": 0.0}


def views(sheets: torch.Tensor) -> list[torch.Tensor]:
    """The two views of sheets [B, 3, S, 2 S], side by side."""
    return list(sheets.chunk(2, 3))


def named(network, what=lambda p: p, running: bool = True) -> dict[str, np.ndarray]:
    """`what(tensor)` by name, linear weights as (in, out); without `running` those of the norms' statistics are left out."""
    found, last = {}, CONFIG["layers"] - 1
    for name, tensor in network.state_dict(keep_vars=True).items():
        if "running_" in name and not running:
            continue
        array = what(tensor).detach().numpy().copy()
        if name.startswith("head."):
            _, part, number, end = name.split(".")
            end = "scale" if (part, int(number), end) == ("norm", last, "weight") else f"{part}.{end}"
            name = f"head.layers.{number}.{end}"
        name = name.replace("running_mean", "_mean").replace("running_var", "_variance")
        found[name] = array.T.copy() if array.ndim == 2 else array
    return found


def filled() -> torch_simclr.Contrast:
    """The network with the stored weights, in training mode."""
    network = torch_simclr.Contrast(**CONFIG)
    with torch.no_grad():
        torch_simclr.fill(network, stored.SEED)
    return network.train()


def simclr() -> tuple[dict, dict]:
    """The arrays and the facts."""
    network = filled()
    rng = np.random.default_rng(stored.SEED + 1)
    base = rng.standard_normal((POOL, 3, SIDE, SIDE))
    pair = [base + 0.7 * rng.standard_normal(base.shape) for _ in range(2)]
    x = np.concatenate(pair, axis=3).astype(np.float32)
    arrays = {"x": x} | {f"weights/{n}": a for n, a in named(network).items()}
    sheets = torch.from_numpy(x[:BATCH]).requires_grad_()
    features, projections = network(views(sheets))
    loss = torch_simclr.nt_xent(projections, TRAINING["temperature"])
    loss.backward()
    first, second = features.chunk(2)
    anchors = torch_simclr.per_anchor(projections, TRAINING["temperature"])
    stages = {"features_first": first, "features_second": second, "projections": projections, "anchors": anchors}
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    arrays |= {f"gradients/{n}": a for n, a in named(network, lambda p: p.grad, running=False).items()}
    arrays |= {"loss": np.float64(loss.item()), "gradients/x": sheets.grad.numpy()}
    for run, decay in DECAYS.items():
        arrays |= {f"{run}/{name}": array for name, array in trained(x, decay).items()}
    return arrays, facts()


def trained(x: np.ndarray, decay: float) -> dict[str, np.ndarray]:
    """A training in float64 from the stored weights."""
    network, sheets = filled().double(), torch.from_numpy(x).double()

    def views_at(step: int) -> list[torch.Tensor]:
        return views(sheets[[(step * BATCH + i) % POOL for i in range(BATCH)]])

    curves = torch_simclr.train(network, views_at, TRAINING | {"weight_decay": decay})
    lengths = [np.linalg.norm(a) for a in named(network).values()]
    names = list(named(network, running=False))
    order = sorted(range(len(names)), key=names.__getitem__)
    curves |= {name: curves[name][:, order] for name in ("parameters", "moved")}
    return curves | {"final_norms": np.array(lengths)}


def facts() -> dict:
    """What is written beside the arrays."""
    return {
        "what": "SimCLR: a residual network of two blocks with a projection head of two layers, LARS",
        **stored.origin("simclr", torch_simclr.fill, torch_simclr.nt_xent),
        "config": CONFIG,
        "training": TRAINING | {
            "optimizer": " ".join(torch_simclr.LARS.__doc__.split()),
            "weight_decay": DECAYS,
            "batch": f"step t uses sheets ({BATCH} t + i) mod {POOL}, i < {BATCH}",
            "rate": " ".join(torch_simclr.rate.__doc__.split()),
        },
        "arrays": {
            "x": f"({POOL}, 3, S, 2 S) sheets: two views of an image side by side; stages, loss and gradients use the first {BATCH}",
            "weights/<name>, gradients/<name>": "plain names, linear weights as (in, out), running statistics of the norms; gradients/x the sheets'",
            "stages/<name>": "in training mode: features of first and second views, projections of all, first views first, and the loss of each as an anchor",
            "<run>/loss, grad_norm": "one a step, before the update",
            "<run>/parameters, moved": "after every step, names sorted: the norm of each; its distance from the start as a share of its norm there, 0 for vectors",
            "<run>/final_norms": "L2 norm of every tensor after the run, in the order of weights/; running variances of biased batch variances",
        },
    }  # fmt: skip


if __name__ == "__main__":
    stored.main(__doc__, {"simclr_tiny": simclr})
