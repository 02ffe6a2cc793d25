"""The torch versions that the stored references of MAE, CAN and Jigsaw-ViT come from, against the official networks' numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "golden")]
import filling  # noqa: E402
import torch_mae  # noqa: E402
from ssl_filling import without_keys  # noqa: E402

pytestmark = pytest.mark.reference
FORWARD, LOSS, GRADIENTS = 1e-5, 1e-6, 2e-5


def sizes(config: dict) -> dict:
    """Arguments of a network from a golden file's short names."""
    names = dict(patch_size="patch", embed_dim="d", depth="depth", num_heads="heads")
    decoder = dict(decoder_embed_dim="dd", decoder_depth="ddepth", decoder_num_heads="dheads")
    given = names | (decoder if "dd" in config else {})
    return {"img_size": [config["img"]] * 2} | {ours: config[theirs] for ours, theirs in given.items()}


def filled(model: torch.nn.Module, manifest: dict) -> torch.nn.Module:
    """The network with the file's weights; the fixed tables are its own."""
    drawn = {name: torch.from_numpy(array) for name, array in filling.weights(manifest).items()}
    missing, unexpected = model.load_state_dict(drawn, strict=False)
    assert set(missing) <= {"pos_embed", "decoder_pos_embed"}
    assert not unexpected
    return model.eval()


def add_gradients(gaps: filling.Gaps, model: torch.nn.Module, loss: torch.Tensor, arrays: dict, prefix: str) -> None:
    """Gaps of every gradient; the file must have exactly these."""
    model.zero_grad()
    loss.backward()
    found = torch_mae.arrays(model, lambda p: p.grad)
    assert {f"{prefix}{name}" for name in found} == {name for name in arrays if name.startswith(prefix)}
    for name, gradient in found.items():
        want = without_keys(name, arrays[f"{prefix}{name}"])
        gaps.add(f"{prefix}{name}", filling.gap(without_keys(name, gradient), want), GRADIENTS)


@pytest.mark.parametrize("path", filling.files("ssl_mae_tiny"))
def test_mae(path):
    manifest, arrays = filling.load(path)
    model, gaps = filled(torch_mae.MAE(**sizes(manifest["config"])), manifest), filling.Gaps()
    keep, restore, removed = torch_mae.masked(torch.from_numpy(arrays["noise"]), manifest["config"]["ratio"])
    for name, got in (("ids_keep", keep), ("ids_restore", restore), ("mask", removed)):
        np.testing.assert_array_equal(got, arrays[name])
    x = torch.from_numpy(arrays["x"])
    latent = model.encode(model.visible(x, keep))
    gaps.add("latent", filling.gap(latent.detach().numpy(), arrays["latent"]), FORWARD)
    gaps.add("pred", filling.gap(model.decode(latent, restore).detach().numpy(), arrays["pred"]), FORWARD)
    features = model.encode(model.visible(x))[:, 0]
    gaps.add("features", filling.gap(features.detach().numpy(), arrays["full/class_feature"]), FORWARD)
    for name, norm_pix in (("pix", False), ("norm_pix", True)):
        predicted = model.decode(model.encode(model.visible(x, keep)), restore)
        loss = torch_mae.mae_loss(predicted, x, model.patch, removed, norm_pix)
        gaps.add(f"{name}/loss", filling.relative([loss.item()], arrays[f"{name}/loss"]), LOSS)
        add_gradients(gaps, model, loss, arrays, f"{name}/grad/")
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_can"))
def test_can(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    given = sizes(config) | {"projection_dim": arrays["paper/projection"].shape[1], "noise_dim": config["pe"]}
    model, gaps = filled(torch_mae.CAN(**given), manifest), filling.Gaps()
    rng = np.random.default_rng(filling.seed_of(path) + 1000)
    x = rng.standard_normal((2 * config["n"], 3, config["img"], config["img"])).astype(np.float32)
    for name in ("mask_noise", "sigma_uniform"):  # drawn between the views and their noise
        np.testing.assert_array_equal(rng.random(arrays[name].shape).astype(np.float32), arrays[name])
    e = rng.standard_normal(x.shape).astype(np.float32)
    sigma = torch.from_numpy(arrays["sigma"])
    parts, stages = torch_mae.can_losses(
        model, torch.from_numpy(x), sigma[:, None, None, None] * torch.from_numpy(e), sigma,
        torch.from_numpy(arrays["mask_noise"]), config["ratio"], config.get("temperature", 0.1),
    )  # fmt: skip
    for name, theirs in (("latent", "latent"), ("projected", "projection"), ("predicted", "pred")):
        gaps.add(name, filling.gap(stages[name].detach().numpy(), arrays[f"paper/{theirs}"]), FORWARD)
    for value, name in zip(parts, ("contrast", "rec", "denoise"), strict=True):
        gaps.add(name, filling.relative([value.item()], arrays[f"paper/{name}"]), GRADIENTS)
    total = (parts * torch.tensor(config["weights_contrast_rec_denoise"])).sum()
    gaps.add("total", filling.relative([total.item()], arrays["paper/total"]), GRADIENTS)
    add_gradients(gaps, model, total, arrays, "paper/grad/")
    gaps.check()


@pytest.mark.parametrize("path", filling.files("ssl_jigsaw"))
def test_jigsaw_vit(path):
    manifest, arrays = filling.load(path)
    config = manifest["config"]
    model, gaps = filled(torch_mae.JigsawViT(**sizes(config), num_classes=config["C"]), manifest), filling.Gaps()
    keep, _, _ = torch_mae.masked(torch.from_numpy(arrays["mask_noise"]), config["ratio"])
    logits, places = model(torch.from_numpy(arrays["x"]), keep)
    gaps.add("logits", filling.gap(logits.detach().numpy(), arrays["logits"]), FORWARD)
    gaps.add("jigsaw_logits", filling.gap(places.flatten(0, 1).detach().numpy(), arrays["jigsaw_logits"]), FORWARD)
    soft = torch_mae.jigsaw_loss(logits, torch.from_numpy(arrays["soft_targets"]), places, keep, config["eta"])
    gaps.add("soft", filling.relative([soft.item()], arrays["loss_total_soft_target"]), GRADIENTS)
    hard = torch_mae.jigsaw_loss(logits, torch.from_numpy(arrays["labels"]), places, keep, config["eta"])
    gaps.add("total", filling.relative([hard.item()], arrays["loss_total"]), GRADIENTS)
    add_gradients(gaps, model, hard, arrays, "grad/")
    gaps.check()
