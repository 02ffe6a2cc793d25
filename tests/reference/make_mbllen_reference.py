"""Writes tests/fidelity_data/mbllen_tiny (.npz and .json): a narrow MBLLEN computed by torch.

    python tests/reference/make_mbllen_reference.py

`make test` and the reports check MBLLEN against this file. This script and its neighbours import nothing of ours.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_mbllen

SHAPE = (2, 3, 26, 23)
CONFIG = dict(width=8, depth=3)
ADAM = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8)


def compute() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the facts."""
    model = torch_mbllen.MBLLEN(**CONFIG)
    with torch.no_grad():
        torch_mbllen.fill(model, stored.SEED)
    rng = np.random.default_rng(stored.SEED + 1)
    x, target = rng.random(SHAPE).astype(np.float32) * np.float32(0.3), rng.random(SHAPE).astype(np.float32)
    arrays = {"x": x, "target": target} | {f"weights/{name}": a for name, a in torch_mbllen.keras(model).items()}
    pixels, wanted = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)
    found = model(pixels)
    arrays |= {f"stages/{name}": tensor.detach().numpy() for name, tensor in found.items()}
    value = torch_mbllen.loss(found["y"], wanted)
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": pixels.grad.numpy()}
    arrays |= {f"gradients/{name}": a for name, a in torch_mbllen.keras(model, lambda p: p.grad).items()}
    model.double()  # in float32 a pixel next to the threshold of the darkest may change sides
    pixels, wanted = pixels.detach().double(), wanted.double()
    arrays |= stored.adam_run(model, lambda: torch_mbllen.loss(model(pixels)["y"], wanted), ADAM)
    arrays["run/final_norms"] = np.array([np.linalg.norm(a) for a in torch_mbllen.keras(model).values()])
    about = {
        "what": "MBLLEN, narrow and with three branches: one pass, every gradient, 40 steps of Adam",
        **stored.origin("mbllen", torch_mbllen.fill, torch_mbllen.loss),
        "config": CONFIG,
        "training": ADAM | {"steps": stored.STEPS, "batch": "both images, every step"},
        "arrays": {
            "weights/<name>, gradients/<name>": "names and layouts of the authors' Keras files",
            "stages/feature<i>, branch<i>, y": "features before their ReLU, results of the branches, the image",
            "run/loss, grad_norm": "one value a step, before the update",
            "run/final_norms": "L2 norm of every array after the run, in the order of weights/",
        },
    }
    return arrays, about


if __name__ == "__main__":
    stored.main(__doc__, {"mbllen_tiny": compute})
