"""Swin's recipes: what the paper's tables have, the rates of every update, what decays, one argument a row of Table 4."""

from functools import cache

import numpy as np
import paddle
import pytest
from conftest import ROOT

from ppcore import config
from ppcore.config import components
from ppcore.config.durations import Plan
from ppcore.optim import decayed_names
from ppcore.report import load_paper
from ppcore.reproduce.recipes import load_recipes

FILE = ROOT / "papers" / "swin.yaml"
PAPER = load_paper(FILE)
RECIPES = load_recipes(FILE, PAPER)
IMAGENET, IMAGENET_22K = 1_281_167, 14_197_122


@cache
def steps() -> dict[str, config.Config]:
    """Every training by its name."""
    loaded = [config.load([ROOT / f for f in step.configs], step.options) for item in RECIPES for step in item.steps]
    return {one.Global.output_dir.rpartition("/")[2]: one for one in loaded}


def build(loaded: config.Config):
    with paddle.LazyGuard():
        return components.build(loaded.Arch)


def test_every_row_that_can_be_trained_here_has_a_recipe():
    """All of ImageNet's top-1 figures but those of other kinds of attention."""
    wanted = {
        (table.id, value)
        for table in PAPER.tables
        if table.id in ("table1", "readme", "table4", "table8")
        for row in table.rows
        for column, value in zip(table.columns, row.values, strict=True)
        if column.dataset == "imagenet-1k" and (column.metric or table.metric) == "top1"
    }
    assert {(item.table, item.published) for item in RECIPES if item.table != "table6"} == wanted


@pytest.mark.parametrize(
    ("run", "images", "epochs", "warmup", "peak"),
    [
        ("tiny_224", IMAGENET, 300, 20, 1e-3),
        ("22k_tiny_224", IMAGENET_22K, 90, 5, 1e-3),
        ("22k_to_1k_base_384", IMAGENET, 30, 5, 4e-5),
        ("base_384", IMAGENET, 30, 5, 4e-5),
    ],
)
def test_rates(run, images, epochs, warmup, peak):
    """Stepped after the update; warm-up from, and cosine to, a thousandth and a hundredth of the peak."""
    loaded = steps()[run]
    batch = loaded.DataLoader.Train.batch_size
    per_epoch = images // batch
    plan, length = Plan(per_epoch, batch, epochs * per_epoch), epochs * per_epoch
    rate = components.build(loaded.Optimizer.lr).bind(plan)
    assert rate(0) == rate(1) == pytest.approx(peak / 1000)
    up = warmup * per_epoch
    middle = peak / 1000 + (peak - peak / 1000) / 2
    assert rate(up // 2 + 1) == pytest.approx(middle, rel=1e-3)
    for update in (up + 1, length // 2, length - 1):  # the cosine over the whole length, warm-up included
        want = peak / 100 + (peak - peak / 100) * (1 + np.cos(np.pi * (update - 1) / length)) / 2
        assert rate(update) == pytest.approx(want, rel=1e-9)
    assert rate(up + 1) < peak  # it has gone down under the warm-up
    later = config.load([ROOT / "configs/swin/tiny_224.yaml"], ["Optimizer.lr.warmup_prefix=true"])
    again = components.build({**later.Optimizer.lr}).bind(Plan(100, 1024, 30_000))
    assert again(2001) == pytest.approx(1e-3)  # since 2022 it begins where the warm-up ends
    assert again(30_000) == pytest.approx(1e-5, rel=1e-2)


@pytest.mark.parametrize(("batch", "peak"), [(1024, 1e-3), (128, 1.25e-4)])
def test_all_three_rates_follow_the_batch(batch, peak):
    loaded = config.load([ROOT / "configs/swin/tiny_224.yaml"], [f"DataLoader.Train.batch_size={batch}"])
    rate = components.build(loaded.Optimizer.lr).bind(Plan(100, batch, 30_000))
    assert rate(0) == pytest.approx(peak / 1000)
    assert rate(29_999) == pytest.approx(peak / 100, rel=1e-3)


@pytest.mark.parametrize("run", sorted(steps()))
def test_vectors_tables_and_absolute_positions_do_not_decay(run):
    loaded = steps()[run]
    model = build(loaded)
    spared = ("relative_position_bias_table", "absolute_pos_embed")
    wanted = {n for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith(spared)}
    assert decayed_names(model, loaded.Optimizer.no_weight_decay) == wanted
    assert "patch_embed.proj.weight" in wanted
    assert "layers.0.downsample.reduction.weight" in wanted


def test_the_tensors_of_swin_t_that_do_not_decay():
    loaded = steps()["tiny_224"]
    model = build(loaded)
    spared = {*(n for n, _ in model.named_parameters())} - decayed_names(model, loaded.Optimizer.no_weight_decay)
    assert len(spared) == 120
    assert sum(int(np.prod(p.shape)) for n, p in model.named_parameters() if n in spared) == 88_930


@pytest.mark.parametrize(
    ("run", "changes"),
    [
        ("table4_unshifted", {"shifted": False}),
        ("table4_no_positions", {"relative_bias": False}),
        ("table4_absolute", {"relative_bias": False, "ape": True}),
        ("table4_both", {"ape": True}),
        ("table4_no_content", {"content_term": False}),
    ],
)
def test_table_4_changes_the_network_alone(run, changes):
    plain, changed = steps()["tiny_224"], steps()[run]
    assert {**changed.Arch} == {**plain.Arch, **changes}
    for section in ("Optimizer", "DataLoader", "Loss", "AMP"):
        assert getattr(changed, section) == getattr(plain, section)
    names = {name.rpartition(".")[2] for name, _ in build(changed).named_parameters()}
    assert ("relative_position_bias_table" in names) == changes.get("relative_bias", True)
    assert ("absolute_pos_embed" in names) == changes.get("ape", False)


@pytest.mark.parametrize("run", sorted(steps()))
def test_stochastic_depth_is_linear_over_all_blocks(run):
    loaded = steps()[run]
    rates, most = [block.drop_path.rate for block in build(loaded).blocks], loaded.Arch["drop_path_rate"]
    assert rates == pytest.approx(np.linspace(0, most, len(rates)).tolist())


@pytest.mark.parametrize(("run", "window"), [("tiny_224", 7), ("tiny_c24_256", 8), ("table8_small_320", 10),
                                             ("base_384", 12), ("22k_to_1k_large_384", 12), ("table8_tiny_384", 12)])  # fmt: skip
def test_windows(run, window):
    """The last stage is one window, whatever the size of the picture."""
    model = build(steps()[run])
    assert {block.window for block in model.blocks} == {(window, window)}
    assert [block.shift for block in model.layers[-1].blocks] == [(0, 0), (0, 0)]


def test_the_papers_text_as_options():
    """Where it differs from the code, the headers give options; they load."""
    linear = (
        "{name: ppcore.schedules.ViTSchedule, decay: linear, linear_end: 0.0, base_lr: 1e-3, warmup: {epochs: 5.0}}"
    )
    name = "Arch.name=ppswin.swin_base_patch4_window7_224"
    loaded = config.load(
        [ROOT / "configs/_base_/swin_pretrain_22k.yaml"],
        [f"Optimizer.lr={linear}", "Optimizer.weight_decay=0.01", name, "Global.output_dir=output/x"],
    )
    rate = components.build(loaded.Optimizer.lr).bind(Plan(10, 4096, 900))
    assert (rate(0), rate(50), rate(900)) == (0.0, pytest.approx(1e-3), 0.0)
    constant = "{name: ppcore.schedules.Constant, base_lr: 1e-5}"
    loaded = config.load(
        [ROOT / "configs/_base_/swin_22k_to_1k.yaml"],
        [f"Optimizer.lr={constant}", name, "Global.output_dir=output/x", "Global.pretrained.path=x"],
    )
    assert components.build(loaded.Optimizer.lr).bind(Plan(10, 1024, 300))(7) == 1e-5
    for text, file in ((linear, "swin_pretrain_22k"), (constant, "swin_finetune")):
        assert text in (ROOT / f"configs/_base_/{file}.yaml").read_text(encoding="utf-8")
