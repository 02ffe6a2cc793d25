"""`Networks`: its rows add up over files, and what a row sets for itself."""

import pytest
import yaml

from ppcore import config
from ppcore.errors import ConfigError

ARCH = {"name": "ppsr.Bicubic", "scale": 1}
TREE = {
    "Global": {"output_dir": "output/x"},
    "Arch": ARCH,
    "DataLoader": {
        "Eval": {
            "dataset": {"name": "ppsr.DegradedImages", "source": {"name": "ppcore.data.Photographs"}, "scale": 2},
            "batch_size": 1,
        }
    },
    "Metric": {"name": "ppsr.LumaQuality"},
}


@pytest.fixture
def load(tmp_path):
    def loaded(*layers: list[dict], options=()):
        below = []
        for number, rows in enumerate(layers):
            tree = {**({} if number else TREE), **({"_base_": below} if below else {}), "Networks": rows}
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(tree))
            below = [f"{number}.yaml"]
        return config.load(tmp_path / below[0], options)

    return loaded


def row(method: str, scale: int = 1, **more) -> dict:
    return {"method": method, "arch": {**ARCH, "scale": scale}, **more}


def test_rows_follow_those_of_the_files_below(load):
    loaded = load([row("a"), row("b")], [row("c"), row("a", 3)])
    assert [(item.method, item.arch["scale"]) for item in loaded.Networks] == [("b", 1), ("c", 1), ("a", 3)]


def test_an_option_replaces_them_all(load):
    loaded = load([row("a")], [row("b")], options=["Networks=[]"])
    assert loaded.Networks == []


def test_a_row_changes_keys_for_itself(load):
    loaded = load([row("a", set={"DataLoader.Eval.dataset.scale": 3, "Metric.protocol": "float_y"}), row("b", 4)])
    own, other = (config.for_network(loaded, number) for number in (0, 1))
    assert own.DataLoader.Eval.dataset["scale"] == 3
    assert own.Metric == {"name": "ppsr.LumaQuality", "protocol": "float_y"}
    assert own.DataLoader.Eval.batch_size == 1
    assert own.Networks == []
    assert other.Arch["scale"] == 4
    assert other.DataLoader == loaded.DataLoader
    assert loaded.DataLoader.Eval.dataset["scale"] == 2, "the others' stays"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "DataLoader.Eval.dataset.scal",
            3,
            r"Networks\.0\.set: DataLoader\.Eval\.dataset\.scal: .*did you mean 'scale'",
        ),
        ("Metric.protocol", "float_z", r"Networks\.0\.set: Metric\.protocol"),
        ("Global.seed", 3, r"Networks\.0\.set: Global\.seed is no key of DataLoader\.Eval or Metric"),
        ("Arch.scale", 3, r"Networks\.0\.set: Arch\.scale is no key"),
        ("DataLoader.Eval.batch_size.x", 3, r"Networks\.0\.set: "),
    ],
)
def test_what_a_row_may_not_set_is_said_when_the_file_is_read(load, key, value, said):
    with pytest.raises(ConfigError, match=said):
        load([row("a", set={key: value})])
