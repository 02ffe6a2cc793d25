"""SRCNN, FSRCNN, VDSR and SRResNet against numbers of known codes: outputs, gradients, steps of their optimizers."""

import filling
import paddle
import pytest
from paddle import nn
from sr_filling import filled, gradients, named, norms, running, sample, stored

import ppsr
from ppcore import optim

OUTPUTS, GRADIENTS, LOSSES, NORMS = 1e-5, 5e-5, 2e-4, 3e-3
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # Paddle's batch norm


def check(
    gaps: filling.Gaps, model: nn.Layer, source: str, case: str, listed: dict, arrays: dict, loss, most: int = 16
):
    """Adds output, loss and every gradient of a case."""
    x = paddle.to_tensor(arrays[f"{case}/in_x"], stop_gradient=False)
    y = model(x)
    gaps.add(f"{case} out", filling.gap(y.detach().numpy(), arrays[f"{case}/out"]), OUTPUTS)
    total = loss(y, {"target": paddle.to_tensor(arrays[f"{case}/in_target"])})
    gaps.add(f"{case} loss", filling.relative(float(total), arrays[f"{case}/loss"][0]), OUTPUTS)
    total.backward()
    gaps.add(f"{case} gradient of the input", filling.gap(x.grad.numpy(), arrays[f"{case}/grad_in"]), GRADIENTS)
    found = gradients(model, source, listed)
    gaps.add(f"{case} norms", filling.relative(norms(found), arrays[f"{case}/grad_norms"]), GRADIENTS)
    compare_gradients(gaps, case, found, arrays, most)


def compare_gradients(gaps: filling.Gaps, case: str, found: dict, arrays: dict, most: int):
    """Adds the gradient of every parameter, of which the file has all of it or a sample."""
    whole, parts = stored(arrays, f"{case}/grad/"), stored(arrays, f"{case}/grad_sample/")
    assert {*whole, *parts} == set(found)
    for key in whole:
        gaps.add(f"{case} gradient of {key}", filling.gap(found[key], arrays[f"{case}/grad/{key}"]), GRADIENTS)
    for key in parts:
        gap = filling.gap(sample(found[key], most), arrays[f"{case}/grad_sample/{key}"])
        gaps.add(f"{case} gradient of {key}", gap, GRADIENTS)


@pytest.mark.parametrize("path", filling.files("sr_nets"))
def test_srcnn(path):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"]["srcnn955"]
    model = filled(ppsr.srcnn_955(border="zero", training_border="valid"), facts["weights"], "yjn870")
    assert sum(p.size for p in model.parameters()) == facts["params"]
    check(gaps, model, "yjn870", "srcnn955", facts["weights"], arrays, ppsr.SquaredError())
    x = paddle.to_tensor(arrays["srcnn955/in_x"])
    model.border = "replicate"
    gaps.add("replicate", filling.gap(model(x).numpy(), arrays["srcnn955/out_replicate"]), OUTPUTS)
    model.train()
    gaps.add("valid", filling.gap(model(x).numpy(), arrays["srcnn955/out_valid"]), OUTPUTS)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("sr_nets"))
@pytest.mark.parametrize(
    ("case", "build", "scale"),
    [("fsrcnn_x2", ppsr.fsrcnn, 2), ("fsrcnn_x3", ppsr.fsrcnn, 3), ("fsrcnn_x4", ppsr.fsrcnn, 4),
     ("fsrcnn_s_x3", ppsr.fsrcnn_s, 3)],
)  # fmt: skip
def test_fsrcnn(path, case, build, scale):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"][case]
    model = filled(build(scale, slopes="channel", border="zero", shift=0), facts["weights"], "yjn870")
    assert sum(p.size for p in model.parameters()) == facts["params"]
    check(gaps, model, "yjn870", case, facts["weights"], arrays, ppsr.SquaredError())
    gaps.check()


def plain_vdsr(manifest: dict) -> ppsr.VDSR:
    return filled(ppsr.vdsr(bias=False), manifest["cases"]["vdsr"]["weights"], "pytorch_vdsr")


@pytest.mark.parametrize("path", filling.files("sr_nets"))
def test_vdsr(path):
    manifest, arrays = filling.load(path)
    gaps, facts = filling.Gaps(), manifest["cases"]["vdsr"]
    model = plain_vdsr(manifest)
    assert sum(p.size for p in model.parameters()) == facts["params"]
    check(gaps, model, "pytorch_vdsr", "vdsr", facts["weights"], arrays, ppsr.SquaredError(reduction="sum"), most=8)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("sr_nets"))
@pytest.mark.parametrize("clip", ["norm", "value"])
def test_six_steps_of_vdsr(path, clip):
    """pytorch-vdsr's clip of the global norm, and the paper's adjustable one.

    In float64: in float32 a value within rounding of a ReLU's zero moves a norm by 1e-6 or by 1.5e-2, by processor.
    """
    manifest, arrays = filling.load(path)
    gaps, model, case = filling.Gaps(), plain_vdsr(manifest), f"vdsr_traj_{clip}"
    model.to(dtype="float64")
    factory, options = (optim.Momentum, {}) if clip == "norm" else (ppsr.ClippedByRate, {"theta": 1e-4})
    optimizer = optim.make(model, factory, weight_decay=1e-4, no_weight_decay=[], momentum=0.9, **options)
    optimizer.set_lr(0.01)
    x, target = (paddle.to_tensor(arrays[f"vdsr_traj/in_{name}"].astype("float64")) for name in ("x", "target"))
    parameters = model.parameters()
    for step, (wanted, norm) in enumerate(zip(arrays[f"{case}/loss"], arrays[f"{case}/grad_norm"], strict=True)):
        loss = ppsr.SquaredError(reduction="sum")(model(x), {"target": target})
        loss.backward()
        gaps.add(f"loss of step {step}", filling.relative(float(loss), wanted), LOSSES)
        ours = float(optim.clip_grad_norm(parameters, 0.4 if clip == "norm" else None))
        gaps.add(f"norm of step {step}", filling.relative(ours, norm), NORMS)
        optimizer.step()
        optimizer.clear_grad()
    listed = manifest["cases"]["vdsr"]["weights"]
    state = named(model, {name: p.numpy() for name, p in model.named_parameters()}, "pytorch_vdsr", listed)
    gaps.add("weights", filling.relative(norms(state), arrays[f"{case}/final_norms"]), LOSSES)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("sr_nets"))
def test_six_steps_of_srcnn(path):
    """The last layer learns at a tenth of the rate."""
    manifest, arrays = filling.load(path)
    gaps, listed = filling.Gaps(), manifest["cases"]["srcnn955"]["weights"]
    model = filled(ppsr.srcnn_955(border="zero", last_rate=0.1), listed, "yjn870")
    optimizer = optim.make(model, optim.Adam, weight_decay=0.0, no_weight_decay=[])
    optimizer.set_lr(1e-4)
    x, target = (paddle.to_tensor(arrays[f"srcnn_traj/in_{name}"]) for name in ("x", "target"))
    for step, wanted in enumerate(arrays["srcnn_traj/loss"]):
        loss = ppsr.SquaredError()(model(x), {"target": target})
        loss.backward()
        gaps.add(f"loss of step {step}", filling.relative(float(loss), wanted), LOSSES)
        optimizer.step()
        optimizer.clear_grad()
    state = named(model, {name: p.numpy() for name, p in model.named_parameters()}, "yjn870", listed)
    gaps.add("weights", filling.relative(norms(state), arrays["srcnn_traj/final_norms"]), LOSSES)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("sr_nets"))
@pytest.mark.parametrize(("scale", "blocks"), [(4, 2), (2, 1)])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_srresnet(path, scale, blocks, mode):
    manifest, arrays = filling.load(path)
    gaps, case, given = filling.Gaps(), f"srresnet16_x{scale}_{mode}", f"srresnet16_x{scale}_train"
    facts = manifest["cases"][case]
    model = filled(ppsr.SRResNet(scale=scale, width=16, blocks=blocks), facts["weights"], "lornatang")
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == facts["params_trainable"]
    if mode == "train":
        model.train()
    x = paddle.to_tensor(arrays[f"{given}/in_x"], stop_gradient=False)
    batch = {"target": paddle.to_tensor(arrays[f"{given}/in_target"])}
    y = model(x)
    gaps.add("out", filling.gap(y.detach().numpy(), arrays[f"{case}/out_raw"]), OUTPUTS)
    loss = ppsr.SquaredError()(y, batch)
    gaps.add("loss", filling.relative(float(loss), arrays[f"{case}/loss_raw"][0]), OUTPUTS)
    loss.backward()
    gaps.add("gradient of the input", filling.gap(x.grad.numpy(), arrays[f"{case}/grad_in"]), GRADIENTS)
    found = gradients(model, "lornatang", facts["weights"])
    gaps.add("norms", filling.relative(norms(found), arrays[f"{case}/grad_norms"]), GRADIENTS)
    if mode == "train":
        compare_gradients(gaps, case, found, arrays, 16)
        count, wanted = x.shape[0] * x.shape[2] * x.shape[3], stored(arrays, f"{case}/running/")
        assert len(wanted) == 2 * (2 * blocks + 1)
        for key, array in running(model, "lornatang", facts["weights"], wanted, lambda norm: count, 1):
            gaps.add(key, filling.gap(array, arrays[f"{case}/running/{key}"]), OUTPUTS)
    cut = filled(ppsr.SRResNet(scale=scale, width=16, blocks=blocks, output="clamp"), facts["weights"], "lornatang")
    if mode == "train":
        cut.train()
    y = cut(x.detach())
    gaps.add("clamped", filling.gap(y.numpy(), arrays[f"{case}/out_clamped"]), OUTPUTS)
    loss = float(ppsr.SquaredError()(y, batch))
    gaps.add("clamped loss", filling.relative(loss, arrays[f"{case}/loss_clamped"][0]), OUTPUTS)
    gaps.check()
