"""Jigsaw-ViT against numbers of the official network: logits, positions, both losses, every gradient."""

import filling
import numpy as np
import paddle
import pytest
from ssl_filling import FORWARD, compare_gradients, filled, gradients

from ppcore.losses import CrossEntropy
from ppssl import JigsawVisionTransformer
from ppssl.jigsaw_task import placing
from ppssl.masking import random_mask


@pytest.mark.parametrize("path", filling.files("ssl_jigsaw"))
def test_both_branches(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    model = JigsawVisionTransformer(
        img_size=config["img"], patch_size=config["patch"], embed_dim=config["d"], depth=config["depth"],
        num_heads=config["heads"], num_classes=config["C"],
    )  # fmt: skip
    filled(model, manifest, "jigsaw")
    keep = random_mask(arrays["mask_noise"], config["ratio"]).keep
    assert keep.shape[1] == config["len_keep"]
    x, labels = paddle.to_tensor(arrays["x"]), paddle.to_tensor(arrays["labels"])
    logits, places = model.classify_and_place(x, keep)
    np.testing.assert_array_equal(keep.flatten(), arrays["jigsaw_targets"])
    gaps = filling.Gaps()
    gaps.add("logits", filling.gap(logits.numpy(), arrays["logits"]), FORWARD)
    gaps.add("the plain pass", filling.gap(model(x).numpy(), arrays["logits"]), FORWARD)
    gaps.add("jigsaw_logits", filling.gap(places.flatten(0, 1).numpy(), arrays["jigsaw_logits"]), FORWARD)
    puzzle, right = placing(places, keep)
    assert float(right) == pytest.approx(manifest["jigsaw_accuracy"])
    classes = CrossEntropy()(logits, {"label": labels})
    soft = CrossEntropy()(logits, {"target": paddle.to_tensor(arrays["soft_targets"])})
    losses = {
        "class": classes,
        "jigsaw": puzzle,
        "total": classes + config["eta"] * puzzle,
        "class_soft_target": soft,
        "total_soft_target": soft + config["eta"] * puzzle,
    }
    for name, loss in losses.items():
        gaps.add(f"loss_{name}", filling.relative([float(loss)], arrays[f"loss_{name}"]), 1e-5)
    compare_gradients(gaps, gradients(model, losses["total"], "jigsaw"), arrays, "grad/")
    gaps.check()
    _, places = model.classify_and_place(x, keep)
    found = gradients(model, placing(places, keep)[0], "jigsaw", manifest["no_gradient_from_jigsaw_loss_alone"])
    assert np.abs(found["cls_token"]).max() > 0
