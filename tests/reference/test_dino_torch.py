"""The torch version that DINO's stored reference comes from, against whole steps of the authors' code."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "golden")]
import filling  # noqa: E402
import torch_dino  # noqa: E402

pytestmark = pytest.mark.reference


def settled(names):
    """Those that rounding does not decide: in the authors' float32 the keys' biases are moved by it."""
    return np.array([not name.endswith("qkv.bias") for name in names])


@pytest.mark.parametrize("path", filling.files("ssl_dino_traj"))
def test_is_the_authors_code(path):
    """Measured: losses 4e-7, centre 2e-7, gradient norms 7e-7, weights of the student 5e-7 and of the teacher 3e-7 of the largest."""
    manifest, arrays = filling.load(path)
    size = manifest["config"]
    backbone = dict(
        img_size=size["img"],
        patch_size=size["patch"],
        embed_dim=size["d"],
        depth=size["depth"],
        num_heads=size["heads"],
    )
    state = {name: torch.from_numpy(array) for name, array in filling.weights(manifest).items()}
    state.setdefault("head.last_layer.weight_g", torch.ones(size["out"], 1))
    made = []
    for free in (not size["norm_last"], False):
        made.append(torch_dino.Network(backbone, size["out"], size["hidden"], size["bott"], free))
        made[-1].load_state_dict(state)
    steps = size["epochs"] * size["spe"]
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    large, small = (
        rng.standard_normal((steps, count, size["B"], 3, side, side)).astype(np.float32)
        for count, side in ((2, size["img"]), (size["nlocal"], size["local"]))
    )
    recipe = dict(
        steps=steps, steps_per_epoch=size["spe"], warmup_epochs=size["warmup_epochs"], lr=size["lr"],
        min_lr=size["min_lr"], weight_decay=[size["wd"], size["wd_end"]], student_temperature=size["student_temp"],
        temperature_warmup_epochs=size["warm_t_ep"], warmup_temperature=size["warm_t"], temperature=size["t"],
        clip=size["clip"], freeze_epochs=size["freeze"], momentum=size["momentum"],
        center_momentum=size["center_momentum"],
    )  # fmt: skip
    center = torch.zeros(1, size["out"])
    found = torch_dino.train(*made, center, lambda t: [torch.from_numpy(v) for v in (*large[t], *small[t])], recipe)
    gaps, names = filling.Gaps(), manifest["param_names"]
    gaps.add("loss", float(np.abs(found["loss"] / arrays["loss"] - 1).max()), 2e-6)
    gaps.add("centre", filling.gap(found["center"], arrays["center"]), 2e-6)
    own = [name for name, _ in made[0].named_parameters()]
    kept = [name for name, one in zip(names, settled(names), strict=True) if one]
    for ours, theirs in (
        ("student", "student_norms"),
        ("teacher", "teacher_norms"),
        ("gradients", "grad_norms_before_clip"),
    ):
        wanted = arrays[theirs][:, settled(names)]
        gaps.add(ours, filling.gap(found[ours][:, [own.index(name) for name in kept]], wanted), 5e-6)
    for who, network in zip(("student", "teacher"), made, strict=True):
        for name, p in network.named_parameters():
            if not name.endswith("qkv.bias"):
                gaps.add(f"{who} {name}", filling.gap(p.detach().numpy(), arrays[f"{who}/{name}"]), 5e-6)
    gaps.check()
