"""CAN against its definition evaluated by the reference, the reading with the class token, and the released code's outputs."""

from types import SimpleNamespace

import filling
import numpy as np
import paddle
import pytest
from ssl_filling import FORWARD, compare_gradients, filled, gradients

import ppssl
from ppcore.layers import patchify
from ppssl.can import noise_waves
from ppssl.mae import normalized_patches, patch_error
from ppssl.masking import random_mask

LOSS = 1e-5  # relative


def task_of(model: ppssl.ContrastiveMaskedAutoencoder, **options) -> ppssl.CAN:
    """The task of a network, in float32."""
    run = SimpleNamespace(
        model=model, config=SimpleNamespace(accumulate=1), forward=lambda network, *inputs: network(*inputs)
    )
    return ppssl.CAN(run=run, **options)


@pytest.fixture(params=filling.files("ssl_can"))
def case(request):
    """The file, its network, and what the task is given."""
    manifest, arrays = filling.load(request.param)
    config = manifest["config"]
    count, side = 2 * config["n"], config["img"]

    def network(**changes):
        given = dict(
            img_size=side, patch_size=config["patch"], embed_dim=config["d"], depth=config["depth"],
            num_heads=config["heads"], decoder_embed_dim=config["dd"], decoder_depth=config["ddepth"],
            decoder_num_heads=config["dheads"], noise_dim=config["pe"],
        )  # fmt: skip
        return filled(ppssl.ContrastiveMaskedAutoencoder(**given, **changes), manifest, "can")

    rng = np.random.default_rng(filling.seed_of(request.param) + 1000)
    x = rng.standard_normal((count, 3, side, side)).astype("float32")
    noise, uniform = (rng.random(arrays[name].shape).astype("float32") for name in ("mask_noise", "sigma_uniform"))
    np.testing.assert_array_equal(noise, arrays["mask_noise"])
    np.testing.assert_array_equal(uniform, arrays["sigma_uniform"])
    e = rng.standard_normal(x.shape).astype("float32")
    np.testing.assert_allclose(e.ravel()[:3], manifest["e_first"], rtol=1e-6)
    sigma = np.float32(config["sigma_max"]) * uniform
    np.testing.assert_allclose(sigma, arrays["sigma"], rtol=1e-6)
    mask = random_mask(noise, config["ratio"])
    np.testing.assert_array_equal(mask.removed, arrays["mask"])
    np.testing.assert_array_equal(mask.restore, arrays["ids_restore"])
    given = (paddle.to_tensor(x), paddle.to_tensor(sigma[:, None, None, None] * e), paddle.to_tensor(sigma), mask)
    return manifest, arrays, network, given


def total(task: ppssl.CAN, terms: dict) -> paddle.Tensor:
    return sum(
        weight * terms[name] for weight, name in zip(task.weights, ("contrast", "reconstruction", "noise"), strict=True)
    )


def test_the_papers_losses_and_gradients(case):
    manifest, arrays, network, given = case
    model, gaps = network(), filling.Gaps()
    task = task_of(model)
    assert list(task.weights) == manifest["config"]["weights_contrast_rec_denoise"]
    clean, noise, sigma, mask = given
    latent = model.encode(clean + noise, mask.keep)
    predicted, projected = model.contrast_and_reconstruct(clean + noise, sigma, mask.keep, mask.restore)
    for name, value in {
        "latent": latent,
        "projection": projected,
        "noise_level_embedding": noise_waves(sigma, model.noise_dim),
        "noise_level_mlp": model.noise_level(sigma),
        "pred": predicted,
    }.items():
        gaps.add(name, filling.gap(value.numpy(), arrays[f"paper/{name}"]), FORWARD)
    terms = task.terms(*given)
    found = {
        "contrast": terms["contrast"],
        "rec": terms["reconstruction"],
        "denoise": terms["noise"],
        "total": total(task, terms),
    }
    for name, value in found.items():
        gaps.add(name, filling.relative([float(value)], arrays[f"paper/{name}"]), LOSS)
    compare_gradients(gaps, gradients(model, found["total"], "can"), arrays, "paper/grad/")
    wrong = task_of(model, noisy_target=True).terms(*given)["reconstruction"]
    gaps.add("noisy target", filling.relative([float(wrong)], arrays["paper/rec_noisy_target"]), LOSS)
    gaps.check()


def test_normalised_targets(case):
    """Of the reconstruction; the total has the noise as it is. Normalised noise is a third party's reading."""
    _, arrays, network, given = case
    model, gaps = network(norm_pix_loss=True), filling.Gaps()
    clean, noise, sigma, mask = given
    task = task_of(model)
    terms = task.terms(*given)
    predicted, _ = model.contrast_and_reconstruct(clean + noise, sigma, mask.keep, mask.restore)
    theirs = patch_error(predicted, normalized_patches(patchify(noise, model.patch_size)), 1 - mask.removed)
    for name, value in {
        "rec_norm_pix": terms["reconstruction"],
        "denoise": terms["noise"],
        "denoise_norm_pix": theirs,
        "total_norm_pix": total(task, terms),
    }.items():
        gaps.add(name, filling.relative([float(value)], arrays[f"paper/{name}"]), LOSS)
    gaps.check()


def test_the_released_codes_reading(case):
    """The class token is pooled and told the noise level, and the noisy view is the target."""
    _, arrays, network, given = case
    gaps, model = filling.Gaps(), network(class_token=True)
    terms = task_of(model).terms(*given)
    for name, value in {"contrast": "contrast", "rec": "reconstruction", "denoise": "noise"}.items():
        gaps.add(
            f"class token: {name}",
            filling.relative([float(terms[value])], arrays[f"class_token_included/{name}"]),
            LOSS,
        )
    task = task_of(model, noisy_target=True, weights=[0.03, 0.97 * 0.7, 0.97 * 0.3])
    terms = task.terms(*given)
    for name, value in {"contrast": "contrast", "loss_rec": "reconstruction", "denoise": "noise"}.items():
        gaps.add(f"released: {name}", filling.relative([float(terms[value])], arrays[f"released/{name}"]), LOSS)
    gaps.add(
        "released: total", filling.relative([float(total(task, terms))], arrays["released/total_default_weights"]), LOSS
    )
    gaps.check()
