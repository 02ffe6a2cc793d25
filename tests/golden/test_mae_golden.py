"""MAE against numbers of the official network: every stage, both losses, every gradient, 20 steps, the fixed positions."""

import filling
import numpy as np
import paddle
import pytest
from ssl_filling import FORWARD, compare_gradients, filled, gradients

from ppcore import optim
from ppcore.config.durations import Duration, Plan
from ppcore.layers.sincos import sincos_positions
from ppcore.schedules import ViTSchedule
from ppssl import MaskedAutoencoder
from ppssl.mae import normalized_patches, patch_error
from ppssl.masking import random_mask, take

LOSS = 1e-6  # relative


def network(config: dict, **changes) -> MaskedAutoencoder:
    """The tiny network of a manifest."""
    given = dict(
        img_size=config["img"], patch_size=config["patch"], embed_dim=config["d"], depth=config["depth"],
        num_heads=config["heads"], decoder_embed_dim=config["dd"], decoder_depth=config["ddepth"],
        decoder_num_heads=config["dheads"],
    )  # fmt: skip
    return MaskedAutoencoder(**{**given, **changes})


@pytest.mark.parametrize("path", filling.files("ssl_mae_tiny"))
def test_every_stage_and_gradient(path):
    manifest, arrays = filling.load(path)
    model = filled(network(manifest["config"]), manifest, "mae")
    trainable = sum(p.size for p in model.parameters() if not p.stop_gradient)
    assert trainable == manifest["params_trainable"]
    assert sum(p.size for p in model.parameters()) == manifest["params_total_with_fixed_embeddings"]

    mask = random_mask(arrays["noise"], manifest["config"]["ratio"])
    for name, got in (("ids_keep", mask.keep), ("ids_restore", mask.restore), ("mask", mask.removed)):
        np.testing.assert_array_equal(got.numpy(), arrays[name], err_msg=name)
    np.testing.assert_array_equal(np.argsort(arrays["ids_restore"], axis=1), arrays["ids_shuffle"])

    x = paddle.to_tensor(arrays["x"])
    patches = model.patch_embed(x)
    latent = model.encode(x, mask.keep)
    predicted = model.decode(latent, mask.restore)
    np.testing.assert_array_equal(predicted, model.reconstruct(x, mask.keep, mask.restore))
    got = {
        "patch_embed": patches,
        "tokens_kept": model.visible(patches, mask.keep)[:, 1:],
        "latent": latent,
        "pred": predicted,
        "target": model.target(x),
        "target_norm": normalized_patches(model.target(x)),
    }
    gaps = filling.Gaps()
    for name, value in got.items():
        gaps.add(name, filling.gap(value.numpy(), arrays[name]), FORWARD)
    for name, norm_pix in (("pix", False), ("norm_pix", True)):
        model.norm_pix_loss = norm_pix
        loss = model.loss(model.reconstruct(x, mask.keep, mask.restore), x, mask.removed)
        gaps.add(f"{name}/loss", filling.relative([float(loss)], arrays[f"{name}/loss"]), LOSS)
        compare_gradients(gaps, gradients(model, loss, "mae"), arrays, f"{name}/grad/")
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_mae_tiny"))
def test_the_population_variance_is_another_loss(path):
    _, arrays = filling.load(path)
    target = arrays["target"].astype(np.float64)
    population = (target - target.mean(-1, keepdims=True)) / np.sqrt(target.var(-1, keepdims=True) + 1e-6)
    predicted, removed = paddle.to_tensor(arrays["pred"]), paddle.to_tensor(arrays["mask"].astype("float32"))
    wrong = float(patch_error(predicted, paddle.to_tensor(population.astype("float32")), removed))
    assert filling.relative([wrong], arrays["loss_norm_pix_population_variance"]) < LOSS
    ours = float(patch_error(predicted, normalized_patches(paddle.to_tensor(arrays["target"])), removed))
    assert filling.relative([ours], arrays["norm_pix/loss"]) < LOSS
    assert abs(ours - wrong) > 1e-3


@pytest.mark.parametrize("path", filling.files("ssl_mae_tiny"))
def test_features_of_whole_images(path):
    manifest, arrays = filling.load(path)
    gaps, x = filling.Gaps(), paddle.to_tensor(arrays["x"])
    token, mean = (filled(network(manifest["config"], pool=pool), manifest, "mae") for pool in ("token", "gap"))
    gaps.add("full/class_feature", filling.gap(token(x).numpy(), arrays["full/class_feature"]), FORWARD)
    gaps.add("full/norm_then_pooled", filling.gap(mean(x).numpy(), arrays["full/norm_then_pooled"]), FORWARD)
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_mae_traj"))
def test_twenty_steps(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    model = filled(network(config, norm_pix_loss=True), manifest, "mae")
    x = filling.images(filling.seed_of(path), (config["B"], 3, config["img"], config["img"]), manifest)
    steps = len(arrays["noise"])
    recipe = manifest["optimizer"]
    made = optim.make(
        model, optim.AdamW, weight_decay=recipe["weight_decay"], no_weight_decay=["1d"], beta1=recipe["betas"][0],
        beta2=recipe["betas"][1], epsilon=recipe["eps"],
    )  # fmt: skip
    rate = ViTSchedule(base_lr=2e-3, warmup=Duration(epochs=1)).bind(Plan(5, config["B"], steps))
    np.testing.assert_allclose([rate(step) for step in range(steps)], arrays["lr"], rtol=1e-12)
    images, gaps, trainable = (
        paddle.to_tensor(x),
        filling.Gaps(),
        [p for p in model.parameters() if not p.stop_gradient],
    )
    found = {"loss": [], "grad_norm": []}
    for step, noise in enumerate(arrays["noise"]):
        made.set_lr(rate(step))
        mask = random_mask(noise, config["ratio"])
        loss = model.loss(model.reconstruct(images, mask.keep, mask.restore), images, mask.removed)
        loss.backward()
        found["loss"].append(float(loss))
        found["grad_norm"].append(float(optim.clip_grad_norm(trainable, None)))
        made.step()
        made.clear_grad()
    gaps.add("loss", filling.relative(found["loss"], arrays["loss"]), 5e-6)
    gaps.add("grad_norm", filling.relative(found["grad_norm"], arrays["grad_norm"]), 2e-5)
    final = model.weight_maps()["mae"].from_paddle({n: p.numpy() for n, p in model.named_parameters()}, model)
    stored = {name.removeprefix("final/") for name in arrays if name.startswith("final/")}
    assert stored | {"pos_embed", "decoder_pos_embed"} >= final.keys()
    for name in stored:
        if not name.endswith("qkv.bias"):
            gaps.add(name, filling.gap(final[name], arrays[f"final/{name}"]), 1e-5)
    for name, norm in zip(manifest["param_names"], arrays["final_param_norms"], strict=True):
        if not name.endswith("qkv.bias"):
            got = np.linalg.norm(final[name].astype(np.float64))
            gaps.add(f"norm of {name}", abs(got - norm) / norm, 1e-5)
    gaps.check()


def test_fixed_positions(golden):
    _, arrays = filling.load(golden / "ssl_sincos.json")
    seen = set()
    for case in {name.split("/")[0] for name in arrays}:
        dim, side = (int(part[1:]) for part in case.split("_"))
        [table] = sincos_positions(dim, (side, side))
        sums = arrays[f"{case}/sum_abs_sum"]
        np.testing.assert_allclose([table.sum(), np.abs(table).sum()], sums, rtol=1e-9)
        if f"{case}/full" in arrays:
            np.testing.assert_allclose(table, arrays[f"{case}/full"], rtol=0, atol=1e-12)
            seen |= {f"{case}/full"}
        else:
            np.testing.assert_allclose(table[arrays[f"{case}/rows"]], arrays[f"{case}/values"], rtol=0, atol=1e-12)
            seen |= {f"{case}/rows", f"{case}/values"}
        seen |= {f"{case}/sum_abs_sum"}
    assert seen == arrays.keys()
    wide, halves = sincos_positions(24, (4, 4))[0, 1:], np.r_[12:24, 0:12]
    assert np.abs(wide[:, halves] - wide).max() > 0.5, "rows and columns are told apart"


def test_a_gradient_goes_back_to_the_kept_tokens_alone():
    tokens = paddle.to_tensor(np.arange(2 * 4 * 3, dtype="float32").reshape(2, 4, 3), stop_gradient=False)
    places = paddle.to_tensor(np.array([[3, 0], [2, 1]]))
    taken = take(tokens, places)
    np.testing.assert_array_equal(taken, np.stack([tokens.numpy()[0, [3, 0]], tokens.numpy()[1, [2, 1]]]))
    (taken * taken).sum().backward()
    want = 2 * tokens.numpy()
    want[0, 1:3], want[1, [0, 3]] = 0, 0
    np.testing.assert_array_equal(tokens.grad, want)
