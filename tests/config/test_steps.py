"""Named steps: transforms in the order of a mapping, changed, replaced, left out and added by name."""

import pytest
from test_config import FULL, complaint, write

from ppcore import config
from ppcore.errors import ConfigError

CROP = {"name": "ppcore.data.RandomCrop", "size": 8, "padding": 1}
FLIP = "{name: ppcore.data.RandomHorizontalFlip%s}"


@pytest.fixture
def over(tmp_path):
    """Loads FULL with `Train` steps of a file over it, and of further files over that."""
    write(tmp_path, FULL)

    def load(*deltas: str, options: tuple[str, ...] = ()) -> dict:
        paths = [tmp_path / "c.yaml"]
        for i, delta in enumerate(deltas):
            paths.append(write(tmp_path, f"DataLoader: {{Train: {{transforms: {delta}}}}}", f"delta{i}.yaml"))
        return config.load(paths, options).DataLoader.Train.transforms

    return load


def order(steps: dict) -> list[str]:
    return list(steps)


class TestAStep:
    def test_is_changed_by_its_name(self, over):
        steps = over("{crop: {size: 16}}", options=("DataLoader.Train.transforms.normalize.mean=[0, 0, 0]",))
        assert steps["crop"] == {**CROP, "size": 16}
        assert steps["normalize"]["mean"] == [0, 0, 0]
        assert order(steps) == ["crop", "normalize"]

    def test_of_another_name_replaces_the_one_below_in_its_place(self, over):
        steps = over("{crop: {name: ppcore.data.CenterCrop, size: 4}}")
        assert steps["crop"] == {"name": "ppcore.data.CenterCrop", "size": 4}
        assert order(steps) == ["crop", "normalize"]

    def test_is_left_out_and_put_back_in_its_place(self, over):
        assert order(over("{crop: null}")) == ["normalize"]
        assert order(over(options=("DataLoader.Train.transforms.crop=null",))) == ["normalize"]
        assert over("{crop: null}", "{crop: {name: ppcore.data.CenterCrop, size: 4}}")["crop"]["size"] == 4
        assert order(over("{crop: null}", "{crop: {name: ppcore.data.CenterCrop, size: 4}}")) == ["crop", "normalize"]

    def test_new_ones_come_last(self, over):
        assert order(over(f"{{flip: {FLIP % ''}}}")) == ["crop", "normalize", "flip"]

    def test_or_before_another(self, over):
        steps = over(f"{{flip: {FLIP % ', before: normalize'}}}")
        assert order(steps) == ["crop", "flip", "normalize"]
        assert steps["flip"] == {"name": "ppcore.data.RandomHorizontalFlip"}
        option = f"DataLoader.Train.transforms.flip={FLIP % ', before: crop'}"
        assert order(over(options=(option,))) == ["flip", "crop", "normalize"]

    def test_several_before_one_keep_their_order(self, over):
        two = FLIP % ", before: normalize"
        assert order(over(f"{{a: {two}, b: {two}}}")) == ["crop", "a", "b", "normalize"]

    def test_one_before_another_that_is_moved(self, over):
        first, second = FLIP % ", before: b", FLIP % ", before: normalize"
        assert order(over(f"{{a: {first}, b: {second}}}")) == ["crop", "a", "b", "normalize"]
        assert order(over(f"{{b: {second}, a: {first}}}")) == ["crop", "a", "b", "normalize"]

    def test_of_the_base_can_be_moved(self, over):
        assert order(over("{normalize: {before: crop}}")) == ["normalize", "crop"]

    def test_an_empty_mapping_removes_all(self, over):
        assert over("{}") == {}
        assert order(over("{}", f"{{flip: {FLIP % ''}}}")) == ["flip"]

    def test_saved_as_it_came_out(self, tmp_path, over):
        over(f"{{crop: null, flip: {FLIP % ', before: normalize'}}}")
        loaded = config.load([tmp_path / "c.yaml", tmp_path / "delta0.yaml"])
        again = config.load(write(tmp_path, loaded.to_yaml(), "again.yaml"))
        assert order(again.tree["DataLoader"]["Train"]["transforms"]) == ["flip", "normalize"]
        assert again.tree == loaded.tree
        assert (
            "batch_transforms"
            in config.load(write(tmp_path, loaded.to_yaml(defaults=True), "all.yaml")).tree["DataLoader"]["Train"]
        )


@pytest.mark.parametrize(
    ("delta", "says"),
    [
        ("{flipp: null}", ": DataLoader.Train.transforms.flipp: no step 'flipp' to leave out; steps: crop, normalize"),
        ("{normalise: null}", ".normalise: no step 'normalise' to leave out (did you mean 'normalize'?)"),
        (
            "{crops: {size: 4}}",
            ".crops: no step 'crops' to change, and a new one needs a 'name' (did you mean 'crop'?)",
        ),
        (
            f"{{a: {FLIP % ', before: normalise'}}}",
            ".a.before: no step 'normalise' to stand before (did you mean 'norm",
        ),
        (f"{{a: {FLIP % ', before: b'}, b: {FLIP % ', before: a'}}}", ".a.before: no step 'b' to stand before"),
        (f"{{a: {FLIP % ', before: a'}}}", ".a.before: no step 'a' to stand before"),
        (
            f"[{FLIP % ''}]",
            "DataLoader.Train.transforms: name the steps, a list has no names: {crop: {name: ppcore.data",
        ),
        ("{crop: 5}", "DataLoader.Train.transforms.crop: "),
    ],
)
def test_a_mistake_is_one_line(over, delta, says):
    with pytest.raises(ConfigError) as raised:
        over(delta)
    assert says in str(raised.value)
    assert "delta0.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_override_by_position(tmp_path):
    message = complaint(write(tmp_path, FULL), "DataLoader.Train.transforms.0.size=4")
    assert "DataLoader.Train.transforms.0: no step '0' to change" in message
    assert "steps: crop, normalize" in message


def test_steps_inside_a_component_are_steps(tmp_path):
    """A component's own argument `transforms` (such as a view's) is ordered and thinned out likewise."""
    from ppcore.config.merging import over, settle

    base = {"views": {"global": {"transforms": {"a": {"name": "x.A"}, "b": {"name": "x.B"}}}}}
    delta = {"views": {"global": {"transforms": {"a": None, "c": {"name": "x.C", "before": "b"}}}}}
    tree = over(over({}, base, "base"), delta, "delta")
    assert settle(tree, "both") == []
    assert list(tree["views"]["global"]["transforms"].items()) == [("c", {"name": "x.C"}), ("b", {"name": "x.B"})]
