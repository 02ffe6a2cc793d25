"""papers/*_recipes.yaml: runs, grids, what starts from what, the rows a user may ask for, and one line for each mistake."""

import copy
from pathlib import Path

import pytest
import yaml

from ppcore.errors import ConfigError
from ppcore.report import load_paper
from ppcore.reproduce.recipes import Step, load_recipes, recipe

PAPER = load_paper(Path(__file__).parents[2] / "papers" / "vit.yaml")
FILE = yaml.safe_load("""
output: out/vit
runs:
  pretrain: {configs: [configs/pretrain.yaml], needs: [data/big]}
  teacher: {configs: [configs/pretrain.yaml], set: {Arch.depth: 2, Loss: {name: a.B, weight: 1.5}, Optimizer.lr.base_lr: 1e-4}}
  whole: {configs: [configs/whole.yaml], start: pretrain}
rows:
  table5:
    whole: {published: 77.91, run: whole}
grids:
  - table: table5
    run: "{row}_{column}"
    configs: [configs/all.yaml]
    start: "{row}"
    needs: [data/small]
    columns:
      - {name: CIFAR-10, key: cifar10, configs: [configs/cifar10.yaml], set: {Global.seed: 1}}
      - {name: Pets, key: pets, configs: [configs/pets.yaml], uses: {Loss.teacher.weights: teacher}, needs: [data/pets]}
    rows:
      - {name: B/16, key: pretrain, set: {Arch.name: x.b16, Global.seed: 2}, published: [98.13, 93.81]}
      - {name: L/16, key: whole, published: [null, 93.64], configs: [configs/l16.yaml]}
""")


def recipes(folder: Path, change=lambda tree: None) -> list:
    tree = copy.deepcopy(FILE)
    change(tree)
    (folder / "made_recipes.yaml").write_text(yaml.safe_dump(tree))
    return load_recipes(folder / "made.yaml", PAPER)


class TestRecipes:
    def test_a_run_that_bears_its_files_name_is_that_file(self, tmp_path):
        found = recipe(recipes(tmp_path), "table5", "whole")
        assert found.published == 77.91
        assert found.steps == (Step(("configs/pretrain.yaml",), ()), Step(("configs/whole.yaml",), ()))
        assert found.needs == ("data/big",)

    def test_a_cell_has_the_grids_the_columns_and_the_rows_files_in_this_order(self, tmp_path):
        found = recipe(recipes(tmp_path), "table5", "B/16 CIFAR-10")
        assert found.steps[-1].configs == ("configs/all.yaml", "configs/cifar10.yaml")
        assert found.steps[-1].options == (
            "Global.seed=2",  # the row's over the column's
            "Arch.name=x.b16",
            "Global.pretrained.path=out/vit/pretrain/checkpoints/latest",
            "Global.output_dir=out/vit/pretrain_cifar10",
        )
        assert set(found.needs) == {"data/big", "data/small"}
        long = recipe(recipes(tmp_path), "table5", "L/16 Pets").steps
        assert long[-1].configs == ("configs/all.yaml", "configs/pets.yaml", "configs/l16.yaml")

    def test_everything_a_run_needs_is_trained_before_it_and_once(self, tmp_path):
        found = recipe(recipes(tmp_path), "table5", "L/16 Pets")
        assert [step.configs[-1] for step in found.steps] == [
            "configs/pretrain.yaml", "configs/whole.yaml", "configs/pretrain.yaml", "configs/l16.yaml",
        ]  # fmt: skip
        assert "Loss.teacher.weights=out/vit/teacher/checkpoints/latest" in found.steps[-1].options

    def test_settings_are_written_as_the_command_line_takes_them(self, tmp_path):
        teacher = recipe(recipes(tmp_path), "table5", "B/16 Pets").steps[1]
        assert teacher.options == (
            "Arch.depth=2", "Loss={name: a.B, weight: 1.5}", "Optimizer.lr.base_lr=1e-4",
            "Global.output_dir=out/vit/teacher",
        )  # fmt: skip

    def test_a_cell_without_a_number_is_none(self, tmp_path):
        assert [item.row for item in recipes(tmp_path)] == ["whole", "B/16 CIFAR-10", "B/16 Pets", "L/16 Pets"]

    def test_a_grid_may_have_one_column_without_a_name(self, tmp_path):
        def change(tree):
            del tree["grids"][0]["columns"]
            tree["grids"][0].update(run="only_{row}", rows=[{"name": "B", "key": "pretrain", "published": [98.13]}])

        found = recipe(recipes(tmp_path, change), "table5", "B")
        assert found.steps[-1].options[-1] == "Global.output_dir=out/vit/only_pretrain"

    def test_a_paper_need_not_have_any(self, tmp_path):
        assert load_recipes(tmp_path / "made.yaml", PAPER) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["rows"]["table5"]["whole"].update(run="hole"), "no run 'hole' (did you mean 'whole'?)"),
        (lambda d: d["runs"]["whole"].update(start="pretrian"), "no run 'pretrian' (did you mean 'pretrain'?)"),
        (lambda d: d["runs"]["pretrain"].update(start="whole"), "needs itself: whole -> pretrain -> whole"),
        (lambda d: d["runs"]["whole"].update(configs=[]), "run 'whole' has no configs"),
        (lambda d: d["grids"].append(d["grids"][0]), "'pretrain_cifar10' is a run already"),
        (lambda d: d["grids"][0].update(run="{row}_{colum}"), "{colum} is neither {row} nor {column}"),
        (lambda d: d["grids"][0]["rows"][0].update(published=[98.13]), "1 numbers for 2 columns"),
        (lambda d: d["grids"][0]["rows"][0].update(published=[1.5, 93.81]), "1.5 is not a number of 'table5'"),
        (lambda d: d["rows"]["table5"].update({"B/16 Pets": d["rows"]["table5"]["whole"]}), "two rows are called 'B/16 Pets'"),
        (lambda d: d["rows"].update(table9=d["rows"]["table5"]), "77.91 is not a number of 'table9'"),
        (lambda d: d["runs"]["whole"].update(option=["A.b=c"]), "runs.whole.option: unknown key"),
        (lambda d: d["runs"]["whole"].update(set={"seed": 1}), "write a key as Section.key, not 'seed'"),
        (lambda d: d["runs"]["whole"].update(configs="a.yaml"), "runs.whole.configs"),
        (lambda d: d.pop("output"), "output"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, change, words):
    with pytest.raises(ConfigError) as raised:
        recipes(tmp_path, change)
    assert "made_recipes.yaml: " in str(raised.value)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rows_a_user_asks_for():
    vit = load_recipes(Path(__file__).parents[2] / "papers" / "vit.yaml", PAPER)
    assert recipe(vit, "table5", "B/16 ImageNet-1k ImageNet").published == 77.91
    with pytest.raises(ConfigError, match="did you mean 'L/16 ImageNet-21k Pets'"):
        recipe(vit, "table5", "L/16 ImageNet-21k Pet")
    with pytest.raises(ConfigError, match="--table table9: no recipe"):
        recipe(vit, "table9", "x")
    with pytest.raises(ConfigError, match="--row is missing; rows: "):
        recipe(vit, "table5", None)
