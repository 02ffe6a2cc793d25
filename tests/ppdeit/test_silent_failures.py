"""What other Paddle suites get silently wrong, each as a test that ours does not (peers: see RESULTS.md)."""

import numpy as np
import paddle
import pytest

import ppdeit
from ppcore import losses, optim
from ppcore.ema import EMA

TINY = dict(img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=7)
RULES = ["1d", "pos_embed", "cls_token", "dist_token"]


def tiny(seed: int = 0, **options) -> ppdeit.DistilledVisionTransformer:
    paddle.seed(seed)
    return ppdeit.DistilledVisionTransformer(**(TINY | options))


def images(count: int = 4) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).standard_normal((count, 3, 16, 16)).astype(np.float32))


def test_soft_distillation_teaches():
    """PaddleViT's loss and gradient are exactly 0: kl_div of log-probabilities taken for probabilities."""
    model = tiny()
    model.train()
    opinion = paddle.to_tensor(3 * np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32))
    _, dist = model(images())
    loss = ppdeit.soft_distillation(dist, opinion, tau=3.0)
    assert float(loss) > 0.1
    loss.backward()
    assert float(model.head_dist.weight.grad.abs().max()) > 1e-3
    assert float(model.blocks[0].attn.qkv.weight.grad.abs().max()) > 1e-6


def test_soft_labels_are_used_as_they_are():
    """PaddleClas's CELoss without epsilon puts a softmax over the labels: 20.25 instead of 0.61 on its example."""
    logits = np.zeros((2, 1000), np.float32)
    logits[:, 3] = 20.0
    target = np.zeros((2, 1000), np.float32)
    target[:, 3] = 1.0
    got = float(losses.CrossEntropy()(paddle.to_tensor(logits), {"target": paddle.to_tensor(target)}))
    assert got < 1e-4
    softmaxed = np.exp(target) / np.exp(target).sum(-1, keepdims=True)
    assert float(-(softmaxed * (logits - 20.0)).sum(-1).mean()) > 19  # what that mistake would give


def test_weight_decay_leaves_alone_what_it_names():
    """PaddleViT compares structured names with Paddle's own and decays 35 tensors of 35."""
    model = tiny()
    names = {n for n, _ in model.named_parameters()}
    decayed = optim.decayed_names(model, RULES)
    linear = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    want = {f"blocks.{i}.{part}.weight" for i in range(2) for part in linear}
    assert decayed == want | {"patch_embed.proj.weight", "head.weight", "head_dist.weight"}
    optimizer = optim.make(model, optim.AdamW, weight_decay=0.5, no_weight_decay=RULES)
    optimizer.set_lr(0.1)
    with paddle.no_grad():
        for p in model.parameters():
            p.set_value(paddle.ones_like(p))
    for p in model.parameters():
        (p * 0.0).sum().backward()
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not np.array_equal(p.numpy(), np.ones(p.shape, np.float32))}
    assert moved == decayed
    assert len(decayed) < len(names)


def test_the_official_run_decays_the_distillation_token():
    """timm 0.3.2's list of exceptions, which the official run used, lacks dist_token; naming it is a choice."""
    assert "dist_token" in optim.decayed_names(tiny(), ["1d", "pos_embed", "cls_token"])
    assert "dist_token" not in optim.decayed_names(tiny(), RULES)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_ema_moves_under_amp_o2(dtype):
    """PaddleClas copies half-precision weights: at decay 0.9999 its average never moves."""
    model = tiny()
    model.to(dtype=dtype)
    ema = EMA(model, 0.9999)
    start = ema.shadow["dist_token"].numpy().copy()
    masters = {p.name: p.astype("float32") + 1.0 for p in model.parameters()}
    for _ in range(50):
        ema.update(masters)
    np.testing.assert_allclose(ema.shadow["dist_token"].numpy() - start, 1 - 0.9999**50, rtol=1e-3)
    for name, value in ema.shadow.items():
        assert value.dtype == paddle.float32, name


def test_two_models_in_one_process():
    """PASSL's distilled DeiT cannot live beside another one."""
    small, large = tiny(), tiny(seed=1, embed_dim=48, num_classes=5)
    again = tiny()
    for model in (small, large, again):
        model.train()
    assert [o.shape for o in small(images())] == [[4, 7], [4, 7]]
    assert [o.shape for o in large(images())] == [[4, 5], [4, 5]]
    for a, b in zip(small(images()), again(images()), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    names = [p.name for model in (small, large, again) for p in model.parameters()]
    assert len(set(names)) == len(names)


def test_training_gives_a_pair():
    """PaddleClas's distilled model returns the mean in training too: its second head learns nothing of its own."""
    model = tiny()
    model.train()
    outputs = model(images())
    assert isinstance(outputs, tuple)
    assert len(outputs) == 2
    assert not np.allclose(outputs[0].numpy(), outputs[1].numpy())


@pytest.mark.parametrize("builder", [ppdeit.DeiT, ppdeit.DistilledVisionTransformer, ppdeit.DeiT3])
def test_a_fresh_model_passes_gradient_to_its_first_block(builder):
    """PaddleViT's constant head weights leave a gradient of 1e-14 in the backbone at the first step."""
    paddle.seed(0)
    model = builder(**TINY)
    model.train()
    outputs = model(images())
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    losses.CrossEntropy()(first, {"label": paddle.to_tensor([0, 1, 2, 3])}).backward()
    assert float(model.blocks[0].attn.proj.weight.grad.abs().max()) > 1e-6
