"""Forty training steps of the tiny ViT and distilled DeiT, with our optimisers, losses, EMA and mixup.

Paddle 2.6.2 and 3.3.1 meet the same bounds.
"""

import re

import filling
import numpy as np
import paddle
import pytest

import ppdeit
import ppvit
from ppcore import losses, optim, weights
from ppcore.data import mix_targets, smooth_one_hot
from ppcore.ema import EMA
from ppcore.weights.training_state import as_array

NO_DECAY = ["1d", "bias", "pos_embed", "cls_token"]
DISTILLED = ("b_hard", "c_soft_batchmean", "d_soft_numel", "d2_soft_numel_default")


def batches(seed: int):
    rng = np.random.default_rng(seed + 1000)
    x = rng.standard_normal((64, 3, 32, 32)).astype(np.float32)
    y = rng.integers(0, 10, 64)
    opinions = (rng.standard_normal((64, 10)) * 3).astype(np.float32)
    for step in range(40):
        start = (16 * step) % 64
        rows = slice(start, start + 16)
        yield x[rows], y[rows], opinions[rows]


def with_target(image, label, *, lam=1.0, smoothing=0.0):
    """A batch with soft targets; lam < 1 mixes images and targets with the flipped batch."""
    target = mix_targets(label, 10, lam, smoothing) if lam < 1 else smooth_one_hot(label, 10, smoothing)
    mixed = np.float32(lam) * image + np.float32(1 - lam) * image[::-1] if lam < 1 else image
    return mixed, {"target": paddle.to_tensor(np.asarray(target, np.float32)), "label": paddle.to_tensor(label)}


class Opinions:
    """A teacher whose logits are given."""

    def __call__(self, images):
        return paddle.to_tensor(self.logits)


def distillation(**settings) -> ppdeit.Distillation:
    return ppdeit.Distillation(base=losses.CrossEntropy(), teacher=Opinions(), **settings)


VARIANTS = {
    "a_ce": (losses.CrossEntropy(), dict(smoothing=0.1)),
    "b_hard": (distillation(mode="hard"), dict(smoothing=0.1)),
    "c_soft_batchmean": (distillation(mode="soft", alpha=0.1, tau=3.0), dict(smoothing=0.1)),
    "d_soft_numel": (distillation(mode="soft", alpha=0.1, tau=3.0, kl="numel"), dict(smoothing=0.1)),
    "d2_soft_numel_default": (distillation(mode="soft", kl="numel"), dict(smoothing=0.1)),
    "e_bce": (losses.BinaryCrossEntropy(), dict()),
    "e2_bce_mixup": (losses.BinaryCrossEntropy(), dict(lam=0.7)),
    "g_sgd_clip": (losses.CrossEntropy(), None),
    "h_ce_mixup": (losses.CrossEntropy(), dict(lam=0.7, smoothing=0.1)),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", filling.files("tiny_traj"))
def test_forty_steps(path, variant):
    manifest, arrays = filling.load(path)
    distilled = variant in DISTILLED
    model = (ppdeit.DistilledVisionTransformer if distilled else ppvit.VisionTransformer)(**manifest["config"])
    state = filling.weights({"weights": manifest["weights"]["distilled" if distilled else "vit"]})
    model.set_state_dict(weights.convert(state, source="timm", model=model))
    model.train()
    criterion, mixing = VARIANTS[variant]
    sgd = variant == "g_sgd_clip"
    optimizer = (
        optim.make(model, optim.Momentum, weight_decay=0.0, no_weight_decay=[])
        if sgd
        else optim.make(model, optim.AdamW, weight_decay=0.05, no_weight_decay=NO_DECAY + ["dist_token"] * distilled)
    )
    ema = EMA(model, 0.99)
    got_loss, got_norm = [], []
    for step, (image, label, opinions) in enumerate(batches(filling.seed_of(path))):
        if mixing is None:
            batch = {"label": paddle.to_tensor(label)}
        else:
            image, batch = with_target(image, label, **mixing)
        if distilled:
            criterion.teacher.logits = opinions
        batch["image"] = paddle.to_tensor(np.ascontiguousarray(image))
        optimizer.set_lr(float(arrays[f"{variant}/lr"][step]))
        loss = criterion(model(batch["image"]), batch)
        loss.backward()
        got_loss.append(float(loss))
        got_norm.append(float(optim.clip_grad_norm(model.parameters(), 1.0 if sgd else None)))
        optimizer.step()
        optimizer.clear_grad()
        ema.update()

    gaps = filling.Gaps()
    gaps.add("loss", filling.relative(got_loss, arrays[f"{variant}/loss"]), 1e-5)
    gaps.add("grad norm", filling.relative(got_norm, arrays[f"{variant}/grad_norm"]), 2e-5)
    keys = manifest["variants"][variant]["param_keys"]
    for kind, values in (("final", model.state_dict()), ("ema", ema.shadow)):
        if f"{variant}/{kind}_param_norms" not in arrays:
            continue
        for key, want in zip(keys, arrays[f"{variant}/{kind}_param_norms"], strict=True):
            norm = np.linalg.norm(as_array(values[key]).astype(np.float64))
            # The key third of qkv.bias has a gradient of zero; Adam turns its rounding noise into steps.
            noisy = re.search(r"qkv\.bias$", key)
            gaps.add(f"{kind} {key}", abs(norm - want) / want, 1e-2 if noisy else 1e-5)
    assert set(VARIANTS) == set(manifest["variants"])
    if variant == "a_ce":
        assert any(name.startswith("ema") for name, _, _ in gaps.rows)
    gaps.check()
