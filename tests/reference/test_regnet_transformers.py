"""RegNet beside Hugging Face's: regnety_160's stages at a fourteenth of its widths, and small teachers.

Marker `reference`; run with `pytest -m reference tests/reference`.
"""

import re

import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch transformers")
pytest.importorskip("transformers", minversion="5", reason="pip install transformers>=5")

import paddle  # noqa: E402
from transformers import RegNetConfig, RegNetForImageClassification  # noqa: E402

import ppcore.weights  # noqa: E402
from ppcore.reproduce.fidelity import of_max  # noqa: E402
from ppdeit.regnet import RegNet, regnety_160  # noqa: E402

# regnety_160 divided by 14, its depths, strides, stem and gate ratio kept.
REDUCED = dict(widths=(16, 32, 88, 216), group_width=8)
SIZES = {
    "regnety_160": dict(embedding_size=32, hidden_sizes=[16, 32, 88, 216], depths=[2, 4, 11, 1]),
    "shallow": dict(embedding_size=16, hidden_sizes=[16, 24], depths=[1, 2]),
    "same-size-first-stage": dict(
        embedding_size=16, hidden_sizes=[16, 24], depths=[2, 1], downsample_in_first_stage=False
    ),
    "regnetx": dict(embedding_size=16, hidden_sizes=[16, 24], depths=[2, 2], layer_type="x"),
}
# Their names -> timm's, in this order.
RENAMES = [
    (r"^regnet\.embedder\.embedder\.", "stem."),
    (r"^regnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.", lambda m: f"s{int(m[1]) + 1}.b{int(m[2]) + 1}."),
    (r"\.shortcut\.", ".downsample."),
    (r"\.layer\.(\d)\.attention\.([02])\.", lambda m: f".se.fc{int(m[2]) // 2 + 1}."),
    (r"\.layer\.([01])\.", lambda m: f".conv{int(m[1]) + 1}."),
    (r"\.layer\.[23]\.", ".conv3."),
    (r"convolution\.", "conv."),
    (r"normalization\.", "bn."),
    (r"^classifier\.1\.", "head.fc."),
]


def timm_name(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def pair(name: str, seed: int = 0) -> tuple[RegNet, RegNetForImageClassification]:
    """(ours, theirs) with the same random weights and statistics, nothing at a special value."""
    size = dict(layer_type="y", groups_width=8, num_labels=11) | SIZES[name]
    theirs = RegNetForImageClassification(RegNetConfig(**size))
    first = 2 if size.get("downsample_in_first_stage", True) else 1
    if name == "regnety_160":
        ours = regnety_160(**REDUCED, num_classes=11)
    else:
        ours = RegNet(
            widths=size["hidden_sizes"],
            depths=size["depths"],
            group_width=8,
            stem_width=size["embedding_size"],
            strides=(first, 2),
            se_ratio=0.25 if size["layer_type"] == "y" else 0.0,
            num_classes=11,
        )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in theirs.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            z = torch.randn(tensor.shape, generator=generator)
            if key.endswith("running_var"):
                z = 0.5 + z.abs()
            elif key.endswith("normalization.weight"):
                z = 1 + 0.1 * z
            else:
                z = z / tensor[0].numel() ** 0.5 if z.ndim > 1 else 0.1 * z
            tensor.copy_(z)
    ours.set_state_dict(ppcore.weights.convert(renamed(theirs), source="timm", model=ours))
    return ours, theirs


def renamed(theirs) -> dict[str, np.ndarray]:
    # Copies: in training torch writes into the very memory that .numpy() shows.
    return {timm_name(key): tensor.numpy().copy() for key, tensor in theirs.state_dict().items()}


def gradients(ours, theirs) -> tuple[dict, dict]:
    mine = {name: p.grad.numpy() for name, p in ours.named_parameters() if p.trainable}
    mine = ours.weight_maps()["timm"].from_paddle(mine, ours)
    return mine, {timm_name(key): p.grad.numpy() for key, p in theirs.named_parameters()}


def compare(name: str, mode: str, precision: str) -> dict[str, float]:
    """Largest gaps of logits, stages, images' gradient, parameters' gradients and running statistics."""
    ours, theirs = pair(name)
    ours.to(dtype=precision)
    theirs.to(getattr(torch, precision))
    side = 64 if name == "regnety_160" else 24
    rng = np.random.default_rng(1)
    x, pull = rng.standard_normal((4, 3, side, side)).astype(precision), rng.standard_normal((4, 11)).astype(precision)
    before = renamed(theirs)
    for model in (ours, theirs):
        getattr(model, mode)()
    pixels, images = torch.from_numpy(x).requires_grad_(), paddle.to_tensor(x, stop_gradient=False)
    out = theirs(pixels, output_hidden_states=True)
    stages = ours.forward_intermediates(images)
    (out.logits * torch.from_numpy(pull)).sum().backward()
    (stages["logits"] * paddle.to_tensor(pull)).sum().backward()
    assert len(out.hidden_states) == ours.num_stages + 1
    wanted = dict(zip(stages, [*out.hidden_states, None, out.logits], strict=True))
    gaps = {
        stage: of_max(stages[stage].numpy(), want.detach().numpy())
        for stage, want in wanted.items()
        if want is not None
    }
    mine, expected = gradients(ours, theirs)
    assert mine.keys() == expected.keys()
    gaps["gradients"] = max(of_max(mine[key], expected[key]) for key in mine)
    gaps["gradient of the images"] = of_max(images.grad.numpy(), pixels.grad.numpy())

    after = renamed(theirs)
    got = ours.weight_maps()["timm"].from_paddle({n: t.numpy() for n, t in ours.state_dict().items()}, ours)
    running = [key for key in got if "running" in key]
    if mode == "eval":
        assert all((got[key] == before[key]).all() for key in running)
        return gaps
    # A batch's variance: torch divides by n - 1, Paddle on a CPU by n, the values of a channel.
    counts = {stage: 4 * tensor.shape[2] * tensor.shape[3] for stage, tensor in stages.items() if tensor.ndim == 4}
    entering = dict(zip(list(counts)[1:], counts.values(), strict=False))
    worst = []
    for key in running:
        assert of_max(got[key], before[key]) > 1e-3, f"{key} did not move"
        stage, _, rest = key.partition(".")
        n = entering[stage] if rest.startswith("b1.conv1.") else counts[stage]
        biased = (n - 1) / n if key.endswith("running_var") else 1.0
        worst.append(of_max(got[key], 0.9 * before[key] + (after[key] - 0.9 * before[key]) * biased))
    gaps["running statistics"] = max(worst)
    return gaps


@pytest.mark.parametrize("name", SIZES)
def test_evaluation_in_float32(name):
    gaps = compare(name, "eval", "float32")
    bounds = dict.fromkeys(gaps, 1e-5) | {"gradients": 2e-5, "gradient of the images": 2e-5}
    assert not {what: gap for what, gap in gaps.items() if not gap <= bounds[what]}


# Training in float64: in float32 a ReLU whose input is rounding noise away from 0 may flip, and batch
# statistics carry that to every gradient (torch's own float32 is up to 1e-1 from its float64 here).
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", SIZES)
def test_both_modes_in_float64(name, mode):
    gaps = compare(name, mode, "float64")
    # Paddle takes BatchNorm's momentum and epsilon as float32.
    bounds = dict.fromkeys(gaps, 1e-9) | {"running statistics": 1e-6}
    assert not {what: gap for what, gap in gaps.items() if not gap <= bounds[what]}


def test_training_in_float32():
    gaps = compare("shallow", "train", "float32")
    gradients = {what: gaps.pop(what) for what in ("gradients", "gradient of the images")}
    assert max(gaps.values()) < 1e-5, gaps
    assert max(gradients.values()) < 2e-5, gradients


def test_a_file_laid_out_as_the_official_teachers(tmp_path):
    """{'model': ...} with counters, by torch.save, as `regnety_160-a5fe301d.pth` is."""
    ours, theirs = pair("shallow")
    state = {timm_name(key): tensor for key, tensor in theirs.state_dict().items()}
    assert sum(key.endswith("num_batches_tracked") for key in state) == 1 + 3 * 3 + 2
    torch.save({"model": state}, tmp_path / "teacher.pth")
    other, _ = pair("shallow", seed=5)
    for source, key in (("deit", None), ("timm", "model")):
        other.set_state_dict({n: paddle.zeros_like(t) for n, t in other.state_dict().items()})
        ppcore.weights.load(other, tmp_path / "teacher.pth", source, key=key)
        for name, tensor in other.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), ours.state_dict()[name].numpy(), err_msg=name)
