"""What the stored reference files have in common: a pool of images, one pass, short trainings, the facts beside it.

Like its neighbours this imports nothing of ours.
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch_vit
import transformers

SEED = 2021
POOL, BATCH, STEPS, WARMUP = 12, 4, 40, 5
ADAMW = dict(optimizer="AdamW", lr=1e-3, weight_decay=0.05, betas=[0.9, 0.999], clip=None)

ARRAYS = {
    "weights/<name>": "timm's names, torch's layouts (a linear weight is (out, in))",
    "gradients/<name>": "of that loss; torch's layouts; gradients/x is the images' gradient",
    "runs/<run>/loss, grad_norm": "one value a step, before the update; the norm is before clipping",
    "runs/<run>/final_norms": "L2 norm of every parameter after the run, in the order of weights/",
}


def rates(peak: float) -> list[float]:
    """Linear warm-up from peak/WARMUP, then constant: the schedule is not what is compared here."""
    return [peak * min(1.0, (step + 1) / WARMUP) for step in range(STEPS)]


def pool(size: int) -> tuple[np.random.Generator, np.ndarray]:
    """A generator, and the images [POOL, 3, size, size] it drew first."""
    rng = np.random.default_rng(SEED + 1)
    return rng, rng.standard_normal((POOL, 3, size, size)).astype(np.float32)


def one_pass(model, x: np.ndarray, forward: Callable, loss: Callable) -> dict[str, np.ndarray]:
    """Weights, stages, loss and gradients on the first BATCH images.

    Args:
        model: to be filled.
        x: the pool.
        forward: (model, images) -> stages by name.
        loss: stages -> scalar.
    """
    arrays = {f"weights/{name}": array for name, array in torch_vit.fill(model, SEED).items()}
    pixels = torch.from_numpy(x[:BATCH]).requires_grad_()
    stages = forward(model, pixels)
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in stages.items()}
    value = loss(stages)
    model.zero_grad()
    value.backward()
    arrays["loss"] = np.float64(value.item())
    arrays |= {f"gradients/{name}": a for name, a in torch_vit.stacked(model, lambda p: p.grad).items()}
    return arrays | {"gradients/x": pixels.grad.numpy()}


def run(model, x: np.ndarray, targets: torch.Tensor, recipe: dict, **kwargs) -> dict[str, np.ndarray]:
    """One training from the stored weights; `kwargs` are `torch_vit.train`'s loss and read."""
    torch_vit.fill(model, SEED)
    groups = torch_vit.decay_groups(model, recipe["weight_decay"])
    if recipe["optimizer"] == "AdamW":
        optimizer = torch.optim.AdamW(groups, lr=recipe["lr"], betas=tuple(recipe["betas"]), eps=1e-8)
    elif recipe["optimizer"] == "LAMB":
        optimizer = Lamb(
            one_group_a_tensor(model, recipe["weight_decay"]), lr=recipe["lr"], betas=tuple(recipe["betas"]), eps=1e-6
        )
    else:
        optimizer = torch.optim.SGD(groups, lr=recipe["lr"], momentum=recipe["momentum"])
    curve = torch_vit.train(
        model,
        torch.from_numpy(x),
        targets,
        optimizer=optimizer,
        lrs=rates(recipe["lr"]),
        batch=BATCH,
        clip=recipe["clip"],
        **kwargs,
    )
    final = torch_vit.stacked(model)
    return curve | {"final_norms": np.array([np.linalg.norm(array.astype(np.float64)) for array in final.values()])}


def adam_run(model, loss: Callable[[], torch.Tensor], recipe: dict) -> dict[str, np.ndarray]:
    """STEPS of Adam at one rate from a model's present weights: `run/loss` and `run/grad_norm` before every update.

    Args:
        model: in the precision of the training.
        loss: of the model on its images.
        recipe: `lr`, `betas`, `eps`.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe["lr"], betas=tuple(recipe["betas"]), eps=recipe["eps"])
    return followed(model, loss, optimizer)


def followed(
    model, loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer, clip: float | None = None
) -> dict[str, np.ndarray]:
    """STEPS of an optimizer: `run/loss` and `run/grad_norm` before every update.

    Args:
        model: in the precision of the training.
        loss: of the model on its images.
        optimizer: of its parameters.
        clip: every entry of a gradient is cut at ±clip before the update.
    """
    optimizer.zero_grad()
    curve = []
    for _ in range(STEPS):
        value = loss()
        value.backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        curve.append([value.item(), norm.item()])
        if clip is not None:
            torch.nn.utils.clip_grad_value_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
    return {"run/loss": np.array(curve)[:, 0], "run/grad_norm": np.array(curve)[:, 1]}


def origin(name: str, fill: Callable, loss: Callable) -> dict:
    """Where the file of one network comes from: `name` ends its two scripts, docstrings say how it is filled and trained."""
    return {
        "made_by": f"tests/reference/make_{name}_reference.py",
        "implementation": f"torch, tests/reference/torch_{name}.py, CPU, 1 thread; pass float32, training float64",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "licence": "made by this project, released under its licence",
        "seed": SEED,
        "filling": " ".join(fill.__doc__.split()),
        "loss": " ".join(loss.__doc__.split()),
    }


def one_group_a_tensor(model, weight_decay: float) -> list[dict]:
    """Optimiser groups, one for every tensor timm has: q, k and v are one there, with one trust ratio."""
    own, groups = dict(model.named_parameters()), []
    for name, theirs in torch_vit.name_map(model).items():
        parameters = [own[t] for t in theirs]
        decays = parameters[0].ndim > 1 and name not in ("cls_token", "pos_embed")
        groups.append({"params": parameters, "weight_decay": weight_decay if decays else 0.0})
    return groups


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al. 2020, algorithm 2), as NVIDIA's FusedLAMB and timm have it, written from the formulas.

    Both moments are corrected for their start at zero; decay is part of the update; the ratio of norms,
    over all of a group's parameters, scales a step only where there is decay.
    """

    def __init__(self, groups, *, lr: float, betas: tuple[float, float], eps: float):
        super().__init__(groups, dict(lr=lr, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            updates = []
            for parameter in group["params"]:
                state = self.state[parameter]
                state["t"] = state.get("t", 0) + 1
                state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * parameter.grad
                state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * parameter.grad**2
                m, v = state["m"] / (1 - beta1 ** state["t"]), state["v"] / (1 - beta2 ** state["t"])
                updates.append(m / (v.sqrt() + group["eps"]) + group["weight_decay"] * parameter)
            ratio = norm(group["params"]) / norm(updates) if group["weight_decay"] else 1.0
            for parameter, update in zip(group["params"], updates, strict=True):
                parameter -= group["lr"] * ratio * update


def norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    """L2 norm of all values together."""
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


def main(description: str, files: dict[str, Callable[[], tuple[dict, dict]]]) -> None:
    """Writes `<name>.npz` and `<name>.json` for every (arrays, facts) of `files`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "fidelity_data", help="folder")
    folder = parser.parse_args().output
    torch.set_num_threads(1)  # one order of summation
    for name, compute in files.items():
        arrays, facts = compute()
        np.savez_compressed(folder / f"{name}.npz", **arrays)
        text = json.dumps(facts, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(arrays)} arrays, {(folder / f'{name}.npz').stat().st_size / 1024:.0f} KB")


def facts(*, what: str, script: str, implementation: str, config: dict, arrays: dict, runs: dict, **more) -> dict:
    """The facts written beside the arrays."""
    return {
        "what": what,
        "made_by": f"tests/reference/{Path(script).name}",
        "implementation": f"{implementation}, attn_implementation='eager', float32, CPU, 1 thread",
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "licence": "made by this project, released under its licence",
        "seed": SEED,
        "config": config,
        "filling": " ".join(torch_vit.fill.__doc__.split()),
        "arrays": {
            "x": f"({POOL}, 3, {config['img_size']}, {config['img_size']}) images; "
            f"`stages`, `loss` and `gradients` use the first {BATCH}",
            **arrays,
            **ARRAYS,
        },
        "zero_gradients": "the key third of every attn.qkv.bias: 0 in exact arithmetic, stored values are noise",
        "training": {
            "steps": STEPS,
            "warmup": WARMUP,
            "batch": f"step t uses images ({BATCH} t + i) mod {POOL}, i < {BATCH}",
            "lr": f"lr * min(1, (t + 1) / {WARMUP})",
            "decay": "none on vectors, cls_token and pos_embed",
            "runs": runs,
        },
        **more,
    }
