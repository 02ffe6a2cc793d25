"""Writes tests/fidelity_data/{srcnn,fsrcnn,vdsr,srgan}_tiny (.npz and .json): narrow networks computed by torch.

    python tests/reference/make_sr_reference.py

`make test` and the reports check super-resolution against these files. This script and its neighbours import nothing of ours.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import stored
import torch_sr

ADAM = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8)
# Numbers that single precision holds exactly: some frameworks keep them so, whatever they train.
SGD = dict(lr=2**-6, momentum=0.875, weight_decay=2**-13, theta=2**-9)
OPPOSED = ADAM | dict(lr=2e-4)
LAST_RATE = 0.1  # factor of the rate of SRCNN's and FSRCNN's last layer
SRCNN = dict(form="9-3-5", widths=[6, 4])
FSRCNN = dict(scale=3, d=6, s=3, m=2)
VDSR = dict(depth=5, width=6)
GENERATOR, DISCRIMINATOR = dict(scale=2, width=6, blocks=2), dict(width=4, size=32, hidden=8)


def images(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Smooth images with noise, float32 in 0..1."""
    rng = np.random.default_rng(stored.SEED + 1)
    found = []
    for shape in shapes:
        height, width = (np.linspace(0, 3, length) for length in shape[2:])
        waves = np.sin(height[:, None] + rng.uniform(0, 6, (*shape[:2], 1, 1))) * np.cos(width)
        found.append((0.5 + 0.3 * waves + 0.1 * rng.standard_normal(shape)).clip(0, 1).astype(np.float32))
    return found


def one_pass(model, x, target, forward: Callable, loss: Callable, arrays_of: Callable) -> dict[str, np.ndarray]:
    """Weights, stages, loss, gradients.

    Args:
        model: filled here.
        x: the images.
        target: of the loss.
        forward: images -> stages by name.
        loss: (images, target) -> scalar.
        arrays_of: (model, which part of a parameter) -> arrays by name.
    """
    with torch.no_grad():
        torch_sr.fill(model, stored.SEED)
    arrays = {"x": x, "target": target} | {f"weights/{name}": a for name, a in arrays_of(model).items()}
    pixels, wanted = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)
    with torch.no_grad():
        arrays |= {f"stages/{name}": tensor.numpy() for name, tensor in forward(pixels).items()}
        torch_sr.fill(model, stored.SEED)  # a norm's statistics have moved
    value = loss(pixels, wanted)
    value.backward()
    arrays |= {"loss": np.float64(value.item()), "gradients/x": pixels.grad.numpy()}
    return arrays


def trained(model, x, target, loss, arrays_of, optimizer, clip=None) -> dict[str, np.ndarray]:
    """A short training in float64 from the stored weights."""
    with torch.no_grad():
        torch_sr.fill(model, stored.SEED)
    model.double()
    pixels, wanted = torch.from_numpy(x).double(), torch.from_numpy(target).double()
    curve = stored.followed(model, lambda: loss(pixels, wanted), optimizer(model), clip)
    return curve | {"run/final_norms": np.array([np.linalg.norm(a) for a in arrays_of(model).values()])}


def adam(last) -> Callable:
    """Adam, a layer's rate a tenth of the others'."""

    def made(model):
        slow = list(last(model).parameters())
        rest = [p for p in model.parameters() if not any(p is one for one in slow)]
        groups = [{"params": rest}, {"params": slow, "lr": ADAM["lr"] * LAST_RATE}]
        return torch.optim.Adam(groups, lr=ADAM["lr"], betas=tuple(ADAM["betas"]), eps=ADAM["eps"])

    return made


def facts(what: str, config: dict, training: dict, loss: Callable, arrays: dict) -> dict:
    """What is written beside the arrays."""
    return {
        "what": what,
        **stored.origin("sr", torch_sr.fill, loss),
        "config": config,
        "training": training | {"steps": stored.STEPS, "batch": "all images, every step"},
        "arrays": {
            **arrays,
            "run/loss, grad_norm": "one value a step, before the update and before clipping",
            "run/final_norms": "L2 norm of every array after the run, in the order of weights/",
        },
    }


def srcnn() -> tuple[dict, dict]:
    model = torch_sr.SRCNN([9, 3, 5], SRCNN["widths"])
    x, target = images((3, 1, 24, 21), (3, 1, 24, 21))
    parts = torch_sr.srcnn_arrays

    def forward(pixels):
        return {border: model(pixels, border) for border in ("valid", "zero", "replicate")}

    def loss(pixels, wanted):
        return torch_sr.squared(model(pixels), wanted)

    arrays = one_pass(model, x, target, forward, loss, parts)
    arrays |= {f"gradients/{name}": a for name, a in parts(model, lambda p: p.grad).items()}
    arrays |= trained(model, x, target, loss, parts, adam(lambda m: m.convs[2]))
    names = {"weights/<name>, gradients/<name>": "of the authors' MATLAB files"}
    names |= {
        "stages/<border>": "the image, by what lies beyond the edge; loss and training are without anything there"
    }
    training = ADAM | {"last_rate": LAST_RATE}
    return arrays, facts("SRCNN 9-3-5, narrow", SRCNN, training, torch_sr.squared, names)


def fsrcnn() -> tuple[dict, dict]:
    model = torch_sr.FSRCNN(FSRCNN["d"], FSRCNN["s"], FSRCNN["m"])
    x, target = images((3, 1, 9, 8), (3, 1, 27, 24))
    parts = torch_sr.fsrcnn_arrays

    def forward(pixels):
        *features, y = model(pixels, 3)
        return {f"feature{i}": f for i, f in enumerate(features)} | {"y": y, "y2": model(pixels, 2)[-1]}

    def loss(pixels, wanted):
        return torch_sr.squared(model(pixels, 3)[-1], wanted)

    arrays = one_pass(model, x, target, forward, loss, parts)
    arrays |= {f"gradients/{name}": a for name, a in parts(model, lambda p: p.grad).items()}
    arrays |= trained(model, x, target, loss, parts, adam(lambda m: m.last))
    names = {"weights/<name>, gradients/<name>": "of the authors' MATLAB files"}
    names |= {"stages/feature<i>, y, y2": "after their PReLU; the image at x3, and at x2 with the same weights"}
    training = ADAM | {"last_rate": LAST_RATE}
    return arrays, facts("FSRCNN(6, 3, 2), narrow", FSRCNN, training, torch_sr.squared, names)


def vdsr() -> tuple[dict, dict]:
    model = torch_sr.VDSR(**VDSR)
    x, target = images((3, 1, 17, 15), (3, 1, 17, 15))
    parts = torch_sr.vdsr_arrays

    def forward(pixels):
        *features, y = model(pixels)
        return {f"feature{i}": f for i, f in enumerate(features)} | {"y": y}

    def loss(pixels, wanted):
        return torch_sr.squared(model(pixels)[-1], wanted)

    def sgd(model):
        return torch.optim.SGD(
            model.parameters(), lr=SGD["lr"], momentum=SGD["momentum"], weight_decay=SGD["weight_decay"]
        )

    arrays = one_pass(model, x, target, forward, loss, parts)
    arrays |= {f"gradients/{name}": a for name, a in parts(model, lambda p: p.grad).items()}
    arrays |= trained(model, x, target, loss, parts, sgd, clip=SGD["theta"] / SGD["lr"])
    names = {"weights/<name>, gradients/<name>": "of the authors' MATLAB files"}
    names |= {"stages/feature<i>, y": "before their ReLU; the image"}
    return arrays, facts("VDSR of five layers, narrow", VDSR, SGD, torch_sr.squared, names)


def srgan() -> tuple[dict, dict]:
    generator = torch_sr.Generator(1, GENERATOR["width"], GENERATOR["blocks"])
    model = torch_sr.Opponents(generator, torch_sr.Discriminator(**DISCRIMINATOR))
    x, target = images((4, 3, 16, 16), (4, 3, 32, 32))
    parts = torch_sr.srgan_arrays

    def forward(pixels):
        whole = model.eval().generator(pixels)
        made = model.train().generator(pixels)
        return {"whole": whole, "made": made, "logits_made": model.discriminator(made)}

    def loss(pixels, wanted):
        return torch_sr.opposed(model, pixels, wanted)

    def both(model):
        return torch.optim.Adam(model.parameters(), lr=OPPOSED["lr"], betas=tuple(ADAM["betas"]), eps=ADAM["eps"])

    arrays = one_pass(model, x, target, forward, loss, parts)
    arrays |= {f"gradients/{name}": a for name, a in parts(model, lambda p: p.grad, running=False).items()}
    arrays |= trained(model, x, target, loss, parts, both)
    names = {
        "weights/<name>, gradients/<name>": "plain names, linear weights (in, out), running statistics of the norms"
    }
    names |= {
        "stages/whole, made, logits_made": "the image in evaluation and in training, and the discriminator's logits of it"
    }
    config = {"generator": GENERATOR, "discriminator": DISCRIMINATOR}
    return arrays, facts("SRGAN, narrow: both networks in turn", config, OPPOSED, torch_sr.opposed, names)


if __name__ == "__main__":
    stored.main(__doc__, {f"{network.__name__}_tiny": network for network in (srcnn, fsrcnn, vdsr, srgan)})
