"""papers/litv2.yaml against what our models count, and against itself; its numbers typed here a second time where they matter."""

import paddle
import pytest

import pplit
from ppcore import config
from ppcore.report import load_paper
from ppcore.reproduce.recipes import load_recipes


@pytest.fixture(scope="module")
def paper(root):
    return load_paper(root / "papers" / "litv2.yaml")


def rows(paper, table: str) -> dict[str, dict[str, float]]:
    """The figures of a table by row and column; rows of several groups as (group, row)."""
    found = next(one for one in paper.tables if one.id == table)
    names = [column.name for column in found.columns]
    return {
        (row.group, row.name) if row.group else row.name: dict(zip(names, row.values, strict=True))
        for row in found.rows
    }


def shapes_alone(builder: str = "litv2_small", **options):
    with paddle.LazyGuard():
        return getattr(pplit, builder)(**options)


def counted(layer) -> int:
    return sum(p.size for p in layer.parameters() if p.trainable)


def test_every_alpha_costs_what_the_authors_code_says(paper):
    table = rows(paper, "alpha_counts")
    assert len(table) == 7
    for name, figures in table.items():
        model = shapes_alone(alpha=float(name.removeprefix("alpha ")))
        assert counted(model) == figures["parameters"]
        assert model.flops() / 1e9 == pytest.approx(figures["GFLOPs"], abs=5e-7)


def test_the_readmes_figures_are_those_but_one(paper):
    """At alpha 1 the README has 3.70, its code 3.746: one of them is older than the other."""
    readme, code = rows(paper, "alpha"), rows(paper, "alpha_counts")
    assert readme.keys() == code.keys()
    wrong = [name for name in readme if round(code[name]["GFLOPs"], 2) != readme[name]["GFLOPs"]]
    assert wrong == ["alpha 1.0"]
    assert max(readme, key=lambda name: readme[name]["ImageNet"]) == "alpha 0.9"


def test_the_models_have_the_sizes_of_the_readme(paper):
    table = next(one for one in paper.tables if one.id == "readme")
    for row in table.rows:
        _, params, gflops, *_ = row.values
        model = shapes_alone(row.builder)
        assert round(counted(model) / 1e6) == params
        assert round(model.flops() / 1e9, 1) == gflops


@pytest.mark.parametrize(("row", "window"), [("HiLo", 2), ("MSA", 1)])
def test_one_layer_has_the_counts_of_the_benchmark(paper, row, window):
    """A window of 1 is plain self-attention."""
    figures, layer = rows(paper, "layer")[row], pplit.HiLo(768, 12, window_size=window, alpha=0.9)
    assert round(counted(layer) / 1e6, 2) == figures["params, M"]
    assert round(layer.flops(14, 14) / 1e6, 2) == figures["MFLOPs"]


def test_known_cells_stand_where_the_authors_have_them(paper):
    assert rows(paper, "readme")["LITv2-B↑384"]["ImageNet"] == 84.7
    assert rows(paper, "readme")["LITv2-M"]["images/s"] == 812
    assert rows(paper, "official")["LITv2-S"] == {"top-1": 82.044, "top-5": 95.666}
    assert rows(paper, "gpus")["Swin-Ti"]["RTX 3090"] == 961
    assert rows(paper, "coco")["window 4", "LITv2-B"] == {
        "RetinaNet, box": 46.3, "Mask R-CNN, box": 46.8, "Mask R-CNN, mask": 42.3,
    }  # fmt: skip
    assert rows(paper, "ade20k")["LITv2-M"]["mIoU"] == 45.7
    assert [(peer.how, row.top1) for peer in paper.peers for row in peer.rows] == [("trained", 81.7)]
    assert len(paper.figures()) == 4 * 6 + 2 + 7 * 2 + 7 * 2 + 2 * 4 + 7 * 4 + 6 * 3 + 3


def test_every_alpha_has_its_training_and_differs_in_that_alone(paper, root):
    recipes = [one for one in load_recipes(root / "papers" / "litv2.yaml", paper) if one.table == "alpha"]
    assert {one.row: one.published for one in recipes} == {
        name: figures["ImageNet"] for name, figures in rows(paper, "alpha").items()
    }
    trees = {}
    for one in recipes:
        [step] = one.steps
        loaded = config.load([root / file for file in step.configs], step.options)
        trees[one.row] = {**loaded.tree, "Global": {**loaded.tree["Global"], "output_dir": None}}
    plain = trees.pop("alpha 0.9")
    assert "alpha" not in plain["Arch"], "the builder's own"
    for row, tree in trees.items():
        alpha = {"alpha": float(row.removeprefix("alpha "))}
        assert tree == {**plain, "Arch": {**plain["Arch"], **alpha}}
