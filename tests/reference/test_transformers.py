"""ViT beside Hugging Face's in one process: same weights, same images, every number compared.

Marker `reference`; needs `pip install torch==2.13.0 "transformers>=5"`. Run with
`pytest -m reference tests/reference`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="pip install torch transformers")
pytest.importorskip("transformers", minversion="5", reason="pip install transformers>=5")

import make_vit_reference  # noqa: E402
import paddle  # noqa: E402
import torch_vit  # noqa: E402

import ppcore.weights  # noqa: E402
from ppcore import losses, optim  # noqa: E402
from ppcore.errors import WeightsError  # noqa: E402
from ppvit.vit import VisionTransformer  # noqa: E402

BASE = dict(img_size=32, patch_size=8, in_chans=3, num_classes=10, embed_dim=48, depth=3, num_heads=3, mlp_dim=96)
CONFIGS = {
    "base": {},
    "one-block": dict(depth=1, num_heads=1),
    "many-heads": dict(num_heads=8, depth=2, mlp_dim=192),
    "small-patch": dict(patch_size=4, img_size=24),
    "no-qkv-bias": dict(qkv_bias=False),
    "tanh-gelu": dict(act="gelu_tanh"),
    "relu": dict(act="relu"),
    "grey-eps": dict(in_chans=1, norm_eps=1e-5, num_classes=3),
    "deep": dict(depth=8, embed_dim=32, num_heads=4, mlp_dim=64),
}


def gap(got, want) -> float:
    """max |got - want| / max |want|."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    return float(np.abs(got - want).max() / np.abs(want).max())


def pair(name: str, seed: int = 0):
    """(ours, theirs) with the same seeded weights."""
    config = BASE | CONFIGS[name]
    theirs, ours = torch_vit.build(**config), VisionTransformer(**config)
    arrays = torch_vit.fill(theirs, seed)
    ours.set_state_dict(ppcore.weights.convert(arrays, source="timm", model=ours))
    ours.eval()
    return ours, theirs, config


def batch(config: dict, count: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    size = config["img_size"]
    x = rng.standard_normal((count, config["in_chans"], size, size)).astype(np.float32)
    return x, rng.dirichlet(np.full(config["num_classes"], 0.3), count).astype(np.float32)


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_and_every_gradient(name):
    ours, theirs, config = pair(name)
    x, target = batch(config, 3)
    pixels = torch.from_numpy(x).requires_grad_()
    want = torch_vit.forward(theirs, pixels)
    images = paddle.to_tensor(x, stop_gradient=False)
    got = ours.forward_intermediates(images)
    assert set(want) == set(got) - {"pre_logits"}
    for stage, tensor in want.items():
        assert gap(got[stage].numpy(), tensor.detach().numpy()) < 1e-5, stage
    assert gap(ours(images).detach().numpy(), want["logits"].detach().numpy()) < 1e-5

    torch_vit.soft_cross_entropy(want["logits"], torch.from_numpy(target)).backward()
    losses.CrossEntropy()(got["logits"], {"target": paddle.to_tensor(target)}).backward()
    assert gap(images.grad.numpy(), pixels.grad.numpy()) < 2e-5
    expected = torch_vit.stacked(theirs, lambda p: p.grad)
    mine = {key: p.grad.numpy() for key, p in ours.named_parameters()}
    mine = ours.weight_maps()["timm"].from_paddle(mine, ours)
    assert mine.keys() == expected.keys()
    for key, gradient in mine.items():
        reference = expected[key]
        if key.endswith("qkv.bias"):  # the key third is zero but for rounding
            third = len(reference) // 3
            gradient, reference = (np.delete(a, np.s_[third : 2 * third]) for a in (gradient, reference))
        assert gap(gradient, reference) < 2e-5, key


@pytest.mark.parametrize("name", ["base", "no-qkv-bias"])
def test_attention_maps(name):
    ours, theirs, config = pair(name)
    x, _ = batch(config, 2)
    want = theirs(torch.from_numpy(x), output_attentions=True).attentions
    got = ours.attention_maps(paddle.to_tensor(x))
    assert len(got) == len(want) == config["depth"]
    for mine, reference in zip(got, want, strict=True):
        assert gap(mine.detach().numpy(), reference.detach().numpy()) < 1e-5


@pytest.mark.parametrize("name", ["base", "many-heads", "tanh-gelu"])
def test_forty_adamw_steps(name):
    ours, theirs, config = pair(name)
    x, target = batch(config, 12)
    lrs = [1e-3 * min(1, (t + 1) / 5) for t in range(40)]
    want = torch_vit.train(
        theirs,
        torch.from_numpy(x),
        torch.from_numpy(target),
        loss=torch_vit.soft_cross_entropy,
        optimizer=torch.optim.AdamW(torch_vit.decay_groups(theirs, 0.05)),
        lrs=lrs,
        batch=4,
        clip=None,
    )
    optimizer = optim.make(ours, optim.AdamW, weight_decay=0.05, no_weight_decay=["1d", "cls_token", "pos_embed"])
    curve, norms = [], []
    for step, lr in enumerate(lrs):
        rows = [(step * 4 + i) % 12 for i in range(4)]
        optimizer.set_lr(lr)
        loss = losses.CrossEntropy()(ours(paddle.to_tensor(x[rows])), {"target": paddle.to_tensor(target[rows])})
        loss.backward()
        norms.append(float(optim.clip_grad_norm(ours.parameters(), None)))
        curve.append(float(loss))
        optimizer.step()
        optimizer.clear_grad()
    assert want["loss"][-1] < 0.8 * want["loss"][0]  # it learns: a flat curve would prove nothing
    np.testing.assert_allclose(curve, want["loss"], rtol=1e-5)
    np.testing.assert_allclose(norms, want["grad_norm"], rtol=5e-5)


def test_a_checkpoint_saved_by_torch_is_read(tmp_path):
    """The unpickler against torch.save itself: dtypes, views, nesting."""
    base = torch.arange(24, dtype=torch.float32)
    model = {
        "plain": base.reshape(4, 6),
        "view": base.reshape(4, 6)[1:, 2:].t(),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "half": torch.tensor([1.5, -2]).half(),
        "bfloat16": torch.tensor([1.5, -2]).bfloat16(),
        "integer": torch.tensor(7),
    }
    torch.save({"model": model, "epoch": 3, "size": torch.Size([2, 3])}, tmp_path / "x.pth")
    got = ppcore.weights.read(tmp_path / "x.pth")
    assert got.keys() == model.keys()
    for name, tensor in model.items():
        np.testing.assert_array_equal(got[name], tensor.detach().float().numpy(), err_msg=name)
    torch.save(model, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="legacy"):
        ppcore.weights.read(tmp_path / "old.pth")


def test_the_stored_file_is_what_the_script_computes():
    stored = np.load(Path(__file__).parents[1] / "fidelity_data" / "vit_tiny.npz")
    facts = json.loads((Path(__file__).parents[1] / "fidelity_data" / "vit_tiny.json").read_text())
    assert {k: v for k, v in facts.items() if k != "versions"} == {
        k: v for k, v in make_vit_reference.facts().items() if k != "versions"
    }
    fresh = make_vit_reference.compute()
    assert set(stored.files) == set(fresh)
    for name, array in fresh.items():
        exact = name.startswith("weights/") or name in ("x", "soft_targets", "multi_targets")
        if exact:
            np.testing.assert_array_equal(stored[name], array, err_msg=name)
        elif not name.endswith(("qkv.bias", "final_norms")):
            assert gap(stored[name], array) < 2e-5, name
