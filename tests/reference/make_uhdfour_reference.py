"""Writes tests/fidelity_data/uhdfour_tiny (.npz and .json): a narrow UHDFour computed by torch.

    python tests/reference/make_uhdfour_reference.py

`make test` and the reports check UHDFour against this file. This script and its neighbours import
nothing of ours.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_uhdfour

# 38 x 20 maps: sizes with factors 2, 5 and 19, odd ones on the lower levels.
SHAPE = (2, 3, 76, 40)
CONFIG = dict(scale=2, extract=4, widths=[8, 12, 16], fusion=8)
ADAM = dict(lr=1e-4, betas=[0.9, 0.99], eps=1e-8)


def loss(found: dict, target: torch.Tensor) -> torch.Tensor:
    """5 · smooth L1 of y + 0.5 · smooth L1 of y_low, the released code's weights."""
    low = F.interpolate(target, scale_factor=1 / CONFIG["scale"], mode="bilinear")
    return 5 * F.smooth_l1_loss(found["y"], target) + 0.5 * F.smooth_l1_loss(found["y_low"], low)


@torch.no_grad()
def settled(model) -> tuple[np.random.Generator, np.ndarray]:
    """The first images of which no phase lies within rounding of a jump.

    float32 gives them the result of float64, also when their last bits change.
    """
    wide = copy.deepcopy(model).double()
    for seed in range(stored.SEED + 1, stored.SEED + 1000):
        rng = np.random.default_rng(seed)
        x = rng.random(SHAPE).astype(np.float32) * np.float32(0.3)
        exact = wide(torch.from_numpy(x).double())["y"]
        shaken = np.random.default_rng(0).choice(np.float32([1 - 1e-6, 1, 1 + 1e-6]), (8, *SHAPE)) * x
        gaps = [(model(torch.from_numpy(near))["y"] - exact).abs().max() for near in (x, *shaken)]
        if max(gaps) < 1e-5 * exact.abs().max():
            return rng, x
    raise ValueError("every image has a phase that rounding decides")


def compute() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the facts."""
    model = torch_uhdfour.UHDFour(**CONFIG)
    with torch.no_grad():
        weights = torch_uhdfour.fill(model, stored.SEED)
    rng, x = settled(model)
    target = rng.random(SHAPE).astype(np.float32)
    arrays = {"x": x, "target": target} | {f"weights/{name}": array for name, array in weights.items()}
    pixels, wanted = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)
    found = model(pixels)
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in found.items()}
    value = loss(found, wanted)
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": pixels.grad.numpy()}
    arrays |= {f"gradients/{name}": p.grad.numpy() for name, p in model.named_parameters()}
    # In float64 no bin comes within rounding of a jump of the phase, so that training is a function of its start.
    model.double()
    pixels, wanted = pixels.detach().double(), wanted.double()
    arrays |= stored.adam_run(model, lambda: loss(model(pixels), wanted), ADAM)
    arrays["run/final_norms"] = np.array([p.detach().norm().item() for p in model.state_dict().values()])
    about = {
        "what": "UHDFour (the LOL network's layers, narrow): one pass, every gradient, 40 steps of Adam",
        **stored.origin("uhdfour", torch_uhdfour.fill, loss),
        "config": CONFIG | {"refine": 2, "tail": 3},
        "training": ADAM | {"steps": stored.STEPS, "batch": "both images, every step"},
        "arrays": {
            "weights/<name>, gradients/<name>": "names and layouts of the released checkpoints",
            "stages/y, y_low, A_r, P_r": "results at both sizes, the guides",
            "run/loss, grad_norm": "one value a step, before the update",
            "run/final_norms": "L2 norm of every parameter after the run, in the order of weights/",
        },
        "zero_gradients": "the first half of every conv_1.bias before an instance norm: 0 in exact arithmetic",
    }
    return arrays, about


if __name__ == "__main__":
    stored.main(__doc__, {"uhdfour_tiny": compute})
