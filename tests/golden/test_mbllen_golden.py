"""MBLLEN against numbers of a torch port of the released network: outputs, losses, gradients, post-processing."""

import re

import filling
import numpy as np
import paddle
import pytest

import ppcore.weights
import ppllie
from ppcore.metrics.ssim_loss import ssim_loss
from ppcore.metrics.vgg import VGG19
from ppllie.mbllen_loss import MBLLENLoss, context_loss, dark_pixels, region_loss
from ppllie.mbllen_postprocess import postprocess

OUT, LOSS, GRADIENT, POST = 5e-6, 1e-5, 1e-4, 1e-5
FILES = filling.files("llie_mbllen")


def keras_name(key: str) -> str:
    """`conv.2.1.weight` of the file as the authors' `conv2d_13/kernel:0`."""
    kind, *numbers, what = key.split(".")
    numbers = [int(number) for number in numbers]
    layer = {
        "fem": lambda i: f"conv2d_{5 * i + 1}",
        "conv": lambda i, j: f"conv2d_{5 * i + 2 + j}",
        "deconv": lambda i, j: f"conv2d_transpose_{3 * i + 1 + j}",
        "out": lambda: "conv2d_51",
    }[kind](*numbers)
    return f"{layer}/{'kernel' if what == 'weight' else 'bias'}:0"


def network(facts: dict) -> ppllie.MBLLEN:
    """The network with the weights of a case, in training mode."""
    arrays = filling.weights(facts)
    model = ppllie.MBLLEN(width=arrays["fem.0.bias"].size)
    assert sum(p.size for p in model.parameters()) == facts["params"]
    keras = {keras_name(k): a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for k, a in arrays.items()}
    state = ppcore.weights.convert(keras, source="mbllen", model=model)
    model.set_state_dict({key: paddle.to_tensor(array) for key, array in state.items()})
    model.train()
    return model


def gradients(model: ppllie.MBLLEN) -> dict[str, np.ndarray]:
    """Under the authors' names, kernels in the file's (torch's) order of axes."""
    found = {name: p.grad.numpy() for name, p in model.named_parameters()}
    stored = model.weight_maps()["mbllen"].from_paddle(found, model)
    return {name: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a for name, a in stored.items()}


def sample(array: np.ndarray, n: int) -> np.ndarray:
    return array[tuple(np.s_[:: -(-size // n)] for size in array.shape)]


@pytest.mark.parametrize("form", ["code", "fixed"])
@pytest.mark.parametrize("path", FILES)
def test_tiny(path, form):
    manifest, arrays = filling.load(path)
    model, case = network(manifest["cases"]["tiny_code"]), f"tiny_{form}"
    x, target = (paddle.to_tensor(arrays[f"tiny_code/in_{name}"]) for name in ("x", "target"))
    y = model(x)
    total = MBLLENLoss(region=form, context=False)(y, {"target": target})
    total.backward()
    regions = {name: region_loss(y, target, name) for name in ("code", "fixed")}
    plain = (y - target).abs().mean() + 3 * ssim_loss(y, target, border="crop")
    found = [
        (y - target).abs().mean(), 3 - 3 * ssim_loss(y, target, border="crop"), *regions.values(),
        *(plain + regions[name] for name in ("code", "fixed")),
    ]  # fmt: skip
    assert float(total) == pytest.approx(float(found[4 if form == "code" else 5]), rel=1e-6)
    gaps = filling.Gaps()
    gaps.add("out", filling.gap(y.numpy(), arrays["tiny_code/out"]), OUT)
    for name, value, want in zip(
        manifest["cases"][case]["loss_names"], found, arrays[f"{case}/losses"], strict=True
    ):  # SSIM's sum is two thousandths: a small difference from 3
        gaps.add(name, abs(float(value) - want) / max(abs(want), 1.0), LOSS)
    shares = [float(dark_pixels(y, name).mean()) for name in ("code", "fixed")]
    gaps.add("mask shares", filling.gap(shares, arrays["tiny_code/mask_share"]), 1e-6)
    ours = gradients(model)
    wanted = {name: array for name, array in arrays.items() if name.startswith(f"{case}/grad/")}
    assert len(wanted) == len(ours) == 162
    for name, want in wanted.items():
        gaps.add(name, filling.gap(ours[keras_name(name.removeprefix(f"{case}/grad/"))], want), GRADIENT)
    gaps.check()


@pytest.mark.parametrize("path", FILES)
def test_full(path):
    manifest, arrays = filling.load(path)
    facts = manifest["cases"]["full"]
    model = network(facts)
    y = model(paddle.to_tensor(arrays["full/in_x"]))
    y.mean().backward()
    gaps, ours = filling.Gaps(), gradients(model)
    gaps.add("out", filling.gap(y.numpy(), arrays["full/out"]), OUT)
    for (key, *_), norm in zip(facts["weights"]["keys"], arrays["full/grad_norms"], strict=True):
        gradient = ours[keras_name(key)]
        if norm > 0:
            gaps.add(f"norm of {key}", abs(np.linalg.norm(gradient.astype(np.float64)) - norm) / norm, GRADIENT)
        want = arrays[f"full/grad_sample/{key}"]
        scale = max(float(np.abs(want).max()), 1e-3 * float(norm), 1e-30)
        gaps.add(key, float(np.abs(sample(gradient, 8) - want).max()) / scale, GRADIENT)
    gaps.check()


@pytest.mark.parametrize("path", FILES)
def test_context(path):
    manifest, arrays = filling.load(path)
    vgg = VGG19(taps=("conv3_4",))
    own = vgg.state_dict()
    for key, array in filling.weights(manifest["cases"]["context"]).items():
        own[key].set_value(array)
    pred = paddle.to_tensor(arrays["context/in_pred"], stop_gradient=False)
    loss = context_loss(vgg, pred, paddle.to_tensor(arrays["context/in_target"]))
    loss.backward()
    gaps = filling.Gaps()
    gaps.add("loss", filling.relative([float(loss)], arrays["context/loss"]), LOSS)
    gaps.add("gradient", filling.gap(pred.grad.numpy(), arrays["context/grad_pred"]), GRADIENT)
    gaps.check()


@pytest.mark.parametrize("path", FILES)
def test_postprocessing(path):
    _, arrays = filling.load(path)
    cases = sorted({name.split("/")[0] for name in arrays if re.match(r"post\d+/", name)})
    assert len(cases) == 2
    for case in cases:
        y = postprocess(paddle.to_tensor(arrays[f"{case}/in"].transpose(2, 0, 1)[None]))
        got = y.numpy()[0].transpose(1, 2, 0)
        np.testing.assert_allclose(got, arrays[f"{case}/out"], rtol=0, atol=POST)
