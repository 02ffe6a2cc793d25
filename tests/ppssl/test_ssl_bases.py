"""The settings of MAE's and Jigsaw-ViT's trainings on ImageNet: rates of every step, what decays and how fast a layer learns."""

from functools import cache

import numpy as np
import paddle
import pytest
from conftest import ROOT

from ppcore import config, optim
from ppcore.config import components
from ppcore.config.durations import Plan
from ppcore.engine import build

IMAGES = 1_281_167


@cache
def load(base: str, arch: str) -> config.Config:
    given = [f"Arch.name=ppssl.{arch}", "Global.output_dir=output/none"]
    return config.load([ROOT / "configs" / "_base_" / f"{base}.yaml"], given)


def model_of(loaded: config.Config):
    with paddle.LazyGuard():
        return components.build(loaded.Arch)


def rates(loaded: config.Config, *epochs: float) -> list[float]:
    batch = loaded.DataLoader.Train.batch_size
    plan = build.plan(loaded, IMAGES, loaded.Global.length())
    assert plan.batch_size == batch
    rate = build.schedule(loaded.Optimizer.lr, Plan(plan.steps_per_epoch, batch, plan.total_steps))
    return [rate(round(epoch * plan.steps_per_epoch)) for epoch in epochs]


@pytest.mark.parametrize("size", ["base_patch16", "large_patch16", "huge_patch14"])
def test_mae_pretrains_as_table_8_says(size):
    loaded = load("mae_pretrain", f"mae_vit_{size}")
    assert rates(loaded, 0, 20, 40, 820, 1600) == pytest.approx([0, 1.2e-3, 2.4e-3, 1.2e-3, 0], abs=1e-9)
    model = model_of(loaded)
    decayed = optim.decayed_names(model, loaded.Optimizer.no_weight_decay)
    assert {"cls_token", "mask_token", "patch_embed.proj.weight", "decoder_pred.weight"} <= decayed
    assert not any(name.endswith(".bias") or "norm" in name or "pos_embed" in name for name in decayed)
    assert model.norm_pix_loss
    steps = loaded.DataLoader.Train.transforms
    assert list(steps) == ["crop", "flip", "normalize"]
    assert steps["crop"]["scale"] == [0.2, 1.0]


@pytest.mark.parametrize("size", ["base_patch16", "large_patch16", "huge_patch14"])
def test_mae_fine_tunes_as_table_9_says(size):
    loaded = load("mae_finetune", f"mae_finetune_vit_{size}")
    assert rates(loaded, 0, 2.5, 5, 52.5, 100) == pytest.approx([0, 2e-3, 4e-3, 2.0005e-3, 1e-6], rel=1e-3, abs=1e-9)
    model = model_of(loaded)
    scales = optim.layer_scales(model, loaded.Optimizer.layer_decay)
    depth = len(model.blocks)
    assert scales["patch_embed.proj.weight"] == pytest.approx(0.75 ** (depth + 1))
    assert scales["pos_embed"] == scales["cls_token"] == scales["patch_embed.proj.bias"]
    assert scales["fc_norm.weight"] == scales["head.weight"] == 1
    decayed = optim.decayed_names(model, loaded.Optimizer.no_weight_decay)
    assert {"head.weight", "patch_embed.proj.weight"} <= decayed
    assert not decayed & {"pos_embed", "cls_token", "fc_norm.weight", "head.bias"}
    assert [block.drop_path1.rate for block in model.blocks][-1] == (0.2 if depth == 32 else 0.1)


def test_jigsaw_is_deits_recipe_and_a_task():
    loaded = load("jigsaw_deit", "jigsaw_small_patch16_224")
    plain = config.load(
        [ROOT / "configs" / "_base_" / "deit_pretrain.yaml"],
        ["Arch.name=ppdeit.deit_small_patch16_224", "Global.output_dir=output/none"],
    )
    assert loaded.Task == {"name": "ppssl.JigsawViT", "weight": 0.1, "mask_ratio": 0.5}
    assert (loaded.Optimizer, loaded.DataLoader, loaded.Loss) == (plain.Optimizer, plain.DataLoader, plain.Loss)
    assert type(model_of(loaded)).__name__ == "JigsawVisionTransformer"


@pytest.mark.parametrize("size", ["base_patch16", "large_patch16", "huge_patch14"])
def test_mae_probes_as_table_10_says(size):
    loaded = load("mae_linprobe", f"mae_linprobe_vit_{size}")
    assert rates(loaded, 0, 5, 10, 50, 90) == pytest.approx([0, 3.2, 6.4, 3.2, 0], rel=1e-2, abs=1e-3)
    model = model_of(loaded)
    assert {name for name, p in model.named_parameters() if not p.stop_gradient} == {"head.1.weight", "head.1.bias"}
    crop = components.build(loaded.DataLoader.Train.transforms["crop"])
    assert not crop.redraw


def test_can_pretrains_on_two_views():
    loaded = load("can_pretrain", "can_vit_base_patch16")
    assert rates(loaded, 0, 5, 50) == pytest.approx([0, 1e-3, 0], abs=1e-9)
    made = components.build(loaded.DataLoader.Train.transforms["views"])
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    assert made({"image": image}, np.random.default_rng(0))["view"].shape == (2, 3, 224, 224)
    decayed = optim.decayed_names(model_of(loaded), loaded.Optimizer.no_weight_decay)
    assert {"cls_token", "mask_token", "projection_head.0.weight", "noise_pe_mlp.2.weight"} <= decayed
