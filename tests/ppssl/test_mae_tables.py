"""papers/mae.yaml, can.yaml, jigsaw_vit.yaml and jigsaw_puzzles.yaml: known cells, and what the ablation's recipes change."""

from functools import cache

import pytest
from conftest import ROOT

from ppcore import config
from ppcore.report import load_paper
from ppcore.reproduce.recipes import load_recipes


@cache
def paper(key: str):
    return load_paper(ROOT / "papers" / f"{key}.yaml")


def value(key: str, table: str, row: str, column: str) -> float | None:
    [found] = [table_ for table_ in paper(key).tables if table_.id == table]
    [at] = [one for one in found.rows if one.name == row]
    return at.values[[one.name for one in found.columns].index(column)]


@pytest.mark.parametrize(
    ("key", "cell", "published"),
    [
        ("mae", ("table3", "MAE ViT-H, 448 px", "ImageNet"), 87.8),
        ("mae", ("table3_others", "BEiT", "ViT-L"), 85.2),
        ("mae", ("official", "ViT-L", "top-5"), 97.570),
        ("mae", ("seeds", "ViT-B", "deviation"), 0.08),
        ("mae", ("table12", "ViT-H", "official code"), 77.2),
        ("mae", ("table1", "decoder width 128", "linear"), 69.1),
        ("mae", ("table1", "block, 75 %", "fine-tuned"), 82.8),
        ("mae", ("table6", "iNaturalist 2018", "ViT-H"), 83.0),
        ("mae", ("table13", "ImageNet-C", "ViT-H, 448 px"), 36.8),
        ("mae", ("figure9", "1 block", "ImageNet"), 81.0),
        ("can", ("abstract", "CAN", "ViT-B, linear"), 74.8),
        ("can", ("jft", "MAE", "ViT-L, linear"), 64.1),
        ("jigsaw_vit", ("readme", "DeiT-B", "with the puzzle"), 82.1),
        ("jigsaw_vit", ("swin", "with the puzzle", "Swin-B"), 85.0),
        ("jigsaw_puzzles", ("voc", "version 2", "classification"), 68.6),
        ("jigsaw_puzzles", ("voc", "version 1", "classification"), None),
    ],
)
def test_known_cells(key, cell, published):
    assert value(key, *cell) == published


def test_the_runs_of_four_seeds_have_the_mean_that_is_printed():
    for row in ("ViT-B", "ViT-L"):
        runs = [value("mae", "seeds", row, f"run {i}") for i in (1, 2, 3, 4)]
        assert sum(runs) / 4 == pytest.approx(value("mae", "seeds", row, "mean"), abs=0.006)


def test_every_version_of_the_puzzles_paper_is_named():
    for table in paper("jigsaw_puzzles").tables:
        for row in table.rows:
            assert (row.source or table.source).ref == f"v{row.name.removeprefix('version ')}"


def flat(tree: dict, path: str = "") -> dict:
    """The leaves by their dotted keys."""
    found = {}
    for key, below in tree.items():
        found |= flat(below, f"{path}{key}.") if isinstance(below, dict) else {f"{path}{key}": below}
    return found


def test_an_ablation_changes_one_thing_and_both_columns_start_from_the_same():
    recipes = [item for item in load_recipes(ROOT / "papers" / "mae.yaml", paper("mae")) if item.table == "table1"]
    assert len(recipes) == 12 * 2
    trees = {}
    for item in recipes:
        first, last = ([ROOT / file for file in step.configs] for step in item.steps)
        row = item.row.removesuffix(" fine-tuned").removesuffix(" linear")
        tree = flat(config.load(first, item.steps[0].options).tree)
        del tree["Global.output_dir"]
        assert trees.setdefault(row, tree) == tree
        kind = "finetune" if item.row.endswith("fine-tuned") else "linprobe"
        assert [file.stem for file in last] == [f"{kind}_large"]
    default = trees.pop("default")
    for row, tree in trees.items():
        differ = {key for key in {*default, *tree} if default.get(key) != tree.get(key)}
        if row in ("no augmentation", "crop of a fixed size"):
            assert all(key.startswith("DataLoader.Train.transforms.") for key in differ), row
        else:
            assert len(differ) == 1, (row, differ)
            assert differ <= {"Arch.decoder_depth", "Arch.decoder_embed_dim", "Arch.norm_pix_loss"}
