"""Writes tests/fidelity_data/pairlie_tiny (.npz and .json): a narrow PairLIE computed by torch.

    python tests/reference/make_pairlie_reference.py

`make test` and the reports check PairLIE against this file. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_pairlie

SHAPE = (2, 3, 26, 23)
EXPOSURES, NOISE = (0.12, 0.3), 0.02
CONFIG = dict(width=8, gamma=0.14)
ADAM = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8)


def exposures() -> np.ndarray:
    """Two scenes in two exposures with noise: the first exposures, then the second."""
    rng = np.random.default_rng(stored.SEED + 1)
    scenes = rng.random(SHAPE)
    noisy = [scenes * exposure + NOISE * rng.standard_normal(SHAPE) for exposure in EXPOSURES]
    return np.concatenate(noisy).clip(0, 1).astype(np.float32)


def compute() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the facts."""
    model = torch_pairlie.PairLIE(CONFIG["width"])
    with torch.no_grad():
        torch_pairlie.fill(model, stored.SEED)
    x = exposures()
    arrays = {"x": x} | {f"weights/{name}": array for name, array in torch_pairlie.arrays(model).items()}
    pixels = torch.from_numpy(x).requires_grad_()
    light, reflectance, denoised = model(pixels)
    stages = {"L": light, "R": reflectance, "X": denoised, "y": light ** CONFIG["gamma"] * reflectance}
    found = torch_pairlie.terms(model, *pixels.chunk(2))
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in (stages | found).items()}
    value = torch_pairlie.total(found)
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": pixels.grad.numpy()}
    arrays |= {f"gradients/{name}": a for name, a in torch_pairlie.arrays(model, lambda p: p.grad).items()}
    model.double()
    first, second = pixels.detach().double().chunk(2)
    arrays |= stored.adam_run(model, lambda: torch_pairlie.total(torch_pairlie.terms(model, first, second)), ADAM)
    arrays["run/final_norms"] = np.array([np.linalg.norm(a) for a in torch_pairlie.arrays(model).values()])
    return arrays, facts()


def facts() -> dict:
    """What is written beside the arrays."""
    return {
        "what": "PairLIE, narrow: one pass, every term of the loss, every gradient, 40 steps of Adam",
        **stored.origin("pairlie", torch_pairlie.fill, torch_pairlie.total),
        "config": CONFIG,
        "training": ADAM | {"steps": stored.STEPS, "batch": "both scenes, every step"},
        "arrays": {
            "x": "first exposures of both scenes, then second ones",
            "weights/<name>, gradients/<name>": "names of the authors' file",
            "stages/L, R, X, y": "illumination, reflectance, the image without noise, L^gamma R, of all four images",
            "stages/<term>": "terms of the loss before their weights, of both scenes",
            "run/loss, grad_norm": "one value a step, before the update",
            "run/final_norms": "L2 norm of every array after the run, in the order of weights/",
        },
    }


if __name__ == "__main__":
    stored.main(__doc__, {"pairlie_tiny": compute})
