"""The reference: timm's SwinTransformer in torch, with the official code's optimizer groups, schedule and clipping.

Nothing here imports our packages. Needs `torch` and `timm` (without torchvision: `benchmarks.timm_alone`).
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.timm_alone import timm

SPARED = ("relative_position_bias_table", "absolute_pos_embed")


def build(**config) -> torch.nn.Module:
    """timm's model of these sizes, in float32 and evaluation mode."""
    return timm().models.swin_transformer.SwinTransformer(**config).eval()


def fill(model: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Fills the model from one numpy generator and returns the weights under timm's names.

    In the order of its parameters: gains 1 + 0.1 z; biases 0.05 z; bias tables z; other weights z / sqrt(fan_in), z
    standard normal. Nothing stays at a value that could hide a mistake.
    """
    rng, state = np.random.default_rng(seed), {}
    for name, parameter in model.named_parameters():
        z = rng.standard_normal(tuple(parameter.shape))
        if name.endswith("bias"):
            values = 0.05 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z
        else:
            values = z if name.endswith(SPARED) else z / np.sqrt(np.prod(z.shape[1:]))
        state[name] = values.astype(np.float32)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(state[name]))
    return state


def arrays(model: torch.nn.Module, what=lambda p: p) -> dict[str, np.ndarray]:
    """`what(parameter)` of every parameter, under timm's names."""
    return {name: what(p).detach().numpy() for name, p in model.named_parameters()}


def forward(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every map [B, h, w, C] and the logits, as our `forward_intermediates` names them, caught by hooks."""
    stages: dict[str, torch.Tensor] = {}

    def catch(module: torch.nn.Module, name: str):
        return module.register_forward_hook(lambda _, __, out: stages.update({name: out}))

    handles = [catch(model.patch_embed, "patch_embed"), catch(model.norm, "norm")]
    for s, stage in enumerate(model.layers):
        handles += [catch(block, f"stage_{s}_block_{b:02d}") for b, block in enumerate(stage.blocks)]
        if s:  # timm has patch merging at the beginning of the next stage
            handles.append(catch(stage.downsample, f"merge_{s - 1}"))
    try:
        stages["logits"] = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return stages


def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of the cross-entropy with probabilities as targets."""
    return torch.nn.functional.cross_entropy(logits, target)


def rate(update: int, *, base: float, warmup_lr: float, min_lr: float, warmup: int, total: int, prefix: bool) -> float:
    """The official schedule, stepped after the update: warm-up, then a cosine, with `prefix` over what is left."""
    t = max(update - 1, 0)
    if t < warmup:
        return warmup_lr + t * (base - warmup_lr) / warmup
    done = (t - warmup) / (total - warmup) if prefix else t / total
    return min_lr + 0.5 * (base - min_lr) * (1 + math.cos(math.pi * done))


def train(
    model: torch.nn.Module, x: np.ndarray, targets: np.ndarray, recipe: dict, *, batch: int
) -> dict[str, np.ndarray]:
    """AdamW in float64 from the model's present weights; update t uses images [t·batch, (t+1)·batch), cyclically.

    Returns:
        `loss`, `grad_norm` (global, before clipping) of every update, `final_norms` of every parameter.
    """
    model = model.double().train()
    images, wanted = torch.from_numpy(x).double(), torch.from_numpy(targets).double()
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[parameter.ndim > 1 and not name.endswith(SPARED)].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": recipe["weight_decay"]}, {"params": groups[False], "weight_decay": 0.0}],
        betas=tuple(recipe["betas"]), eps=1e-8,
    )  # fmt: skip
    curve, total = [], recipe["schedule"]["total"]
    for update in range(total):
        rows = [(update * batch + i) % len(images) for i in range(batch)]
        for group in optimizer.param_groups:
            group["lr"] = rate(update, **recipe["schedule"])
        optimizer.zero_grad()
        value = loss(model(images[rows]), wanted[rows])
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
        curve.append([value.item(), norm.item()])
        optimizer.step()
    norms = np.array([np.linalg.norm(a) for a in arrays(model).values()])
    return {"loss": np.array(curve)[:, 0], "grad_norm": np.array(curve)[:, 1], "final_norms": norms}
