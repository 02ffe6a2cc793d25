"""PairLIE against numbers of the released code: parts, every loss and gradient, Adam; and its authors' weights on LOL."""

import os
from pathlib import Path

import filling
import numpy as np
import paddle
import pytest

import ppcore.weights
from ppcore import optim
from ppcore.data import PairedFolder
from ppcore.data.transforms.paired import to_float
from ppcore.metrics import psnr_ssim
from ppllie import PairLIE, PairLIELoss

PARTS, GRADIENTS, LOSSES = 5e-6, 2e-5, 1e-5
# The file's names of our terms, in its order; `r` is the sum of four.
TERMS = {
    "c": "consistency", "p": "projection", "r_recon": "product", "r_reflect": "quotient", "r_maxrgb": "brightest",
    "r_tv": "smoothness",
}  # fmt: skip
DATA = Path(os.environ.get("PP_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")


def network(facts: dict, width: int) -> PairLIE:
    """A network with the case's weights, in training mode: it returns its parts."""
    model = PairLIE(width=width)
    assert sum(p.size for p in model.parameters()) == facts["params"]
    state = ppcore.weights.convert(filling.weights(facts), source="pairlie", model=model)
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    model.train()
    return model


def official(model: PairLIE, state: dict[str, np.ndarray], facts: dict) -> dict[str, np.ndarray]:
    """Arrays by official name, in the order of the file."""
    theirs = model.weight_maps()["pairlie"].from_paddle(state, model)
    return {key: theirs[key] for key, *_ in facts["weights"]["keys"]}


def losses(model: PairLIE, images: list[paddle.Tensor]) -> tuple[paddle.Tensor, list[float]]:
    """The total, and the eight numbers of the file in its order."""
    criterion = PairLIELoss()
    terms = criterion.terms((*model(images[0]), model.reflect(images[1])), images[0])
    total = criterion.total(terms)
    found = {theirs: float(terms[ours]) for theirs, ours in TERMS.items()}
    found["r"] = sum(value for name, value in found.items() if name.startswith("r_"))
    found["total"] = float(total)
    return total, [found[name] for name in ("c", "r", "p", "r_recon", "r_reflect", "r_maxrgb", "r_tv", "total")]


def sample(array: np.ndarray) -> np.ndarray:
    """At most 16 elements an axis."""
    return array[tuple(np.s_[:: -(-size // 16)] for size in array.shape)]


@pytest.mark.parametrize("path", filling.files("llie_pairlie"))
def test_parts_losses_and_gradients(path):
    manifest, arrays = filling.load(path)
    facts = manifest["cases"]["tiny16"]
    assert facts["loss_names"] == ["c", "r", "p", "r_recon", "r_reflect", "r_maxrgb", "r_tv", "total"]
    model, gaps = network(facts, 16), filling.Gaps()
    images = [paddle.to_tensor(arrays[f"tiny16/in_im{place}"]) for place in (1, 2)]
    for place, image in enumerate(images, 1):
        for name, part in zip("LRX", model(image), strict=True):
            gaps.add(f"{name}{place}", filling.gap(part.numpy(), arrays[f"tiny16/out/{name}{place}"]), PARTS)
    total, found = losses(model, images)
    gaps.add("losses", filling.relative(found, arrays["tiny16/losses"]), LOSSES)
    total.backward()
    gradients = official(model, {name: p.grad.numpy() for name, p in model.named_parameters()}, facts)
    for key, gradient in gradients.items():
        gaps.add(f"gradient of {key}", filling.gap(gradient, arrays[f"tiny16/grad/{key}"]), GRADIENTS)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("llie_pairlie"))
def test_the_papers_size(path):
    manifest, arrays = filling.load(path)
    facts = manifest["cases"]["full64"]
    model, gaps = network(facts, 64), filling.Gaps()
    image = paddle.to_tensor(arrays["full64/in_x"])
    parts = model(image)
    for name, part in zip("LRX", parts, strict=True):
        gaps.add(name, filling.gap(part.numpy(), arrays[f"full64/{name}"]), PARTS)
    (parts[0].mean() + (parts[1] * parts[2]).mean()).backward()
    gradients = official(model, {name: p.grad.numpy() for name, p in model.named_parameters()}, facts)
    norms = [np.linalg.norm(gradient.astype(np.float64)) for gradient in gradients.values()]
    gaps.add("gradient norms", filling.relative(norms, arrays["full64/grad_norms"]), GRADIENTS)
    for key, gradient in gradients.items():
        gaps.add(f"gradient of {key}", filling.gap(sample(gradient), arrays[f"full64/grad_sample/{key}"]), GRADIENTS)
    model.eval()
    for gamma in (0.2, 0.14):
        model.gamma = gamma
        gaps.add(f"gamma {gamma}", filling.gap(model(image).numpy(), arrays[f"full64/I_g{gamma}"]), PARTS)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("llie_pairlie"))
def test_six_steps_of_adam(path):
    manifest, arrays = filling.load(path)
    facts = manifest["cases"]["tiny16"]
    model, gaps = network(facts, 16), filling.Gaps()
    images = [paddle.to_tensor(arrays[f"tiny16/in_im{place}"]) for place in (1, 2)]
    optimizer = optim.make(model, optim.Adam, weight_decay=0.0, no_weight_decay=[])
    optimizer.set_lr(1e-4)
    for step, (wanted, norm) in enumerate(zip(arrays["traj16/losses"], arrays["traj16/grad_norm"], strict=True)):
        total, found = losses(model, images)
        total.backward()
        ours = np.sqrt(sum(np.square(p.grad.numpy().astype(np.float64)).sum() for p in model.parameters()))
        gaps.add(f"losses of step {step}", filling.relative(found, wanted), LOSSES)
        gaps.add(f"gradient norm of step {step}", abs(ours - norm) / norm, GRADIENTS)
        optimizer.step()
        optimizer.clear_grad()
    state = official(model, {name: p.numpy() for name, p in model.named_parameters()}, facts)
    norms = [np.linalg.norm(array.astype(np.float64)) for array in state.values()]
    gaps.add("weights after six steps", filling.relative(norms, arrays["traj16/final_norms"]), LOSSES)
    gaps.check()


@pytest.mark.slow
@pytest.mark.parametrize("path", filling.files("llie_real"))
def test_the_authors_weights_on_lol(path):
    weights, pairs = DATA / "weights" / "PairLIE.safetensors", DATA / "lol_eval15"
    if not weights.is_file() or not pairs.is_dir():
        pytest.skip(f"no authors' weights or no LOL test pairs in {DATA}: set PP_DATA_DIR")
    manifest, arrays = filling.load(path)
    model = PairLIE()
    ppcore.weights.load(model, weights, source="pairlie")
    model.eval()
    images = PairedFolder(root=str(pairs), low="low", high="high")
    by_name = {Path(images.paths[place]).stem: place for place in range(len(images))}
    for row, name in enumerate(manifest["images"]):
        pair = images.load(by_name[name])
        target = to_float(pair["target"].read()).transpose(1, 2, 0).astype(np.float64)
        with paddle.no_grad():
            illumination, reflectance, _ = model.decompose(paddle.to_tensor(to_float(pair["image"].read()))[None])
        for gamma, kind, whole in ((0.14, "trunc8", np.floor), (0.2, "round8", np.rint)):
            y = (illumination**gamma * reflectance).numpy()[0].transpose(1, 2, 0)
            y = whole(np.clip(y, 0, 1) * np.float32(255)).astype(np.float64) / 255
            wanted = arrays[f"metrics/pairlie_g{gamma}_{kind}"][row]
            assert abs(psnr_ssim.psnr(y, target) - wanted[0]) <= 2e-3
            assert abs(psnr_ssim.ssim(y, target) - wanted[1]) <= 2e-5
