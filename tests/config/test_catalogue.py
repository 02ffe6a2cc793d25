"""What can be named is found in the packages, with arguments, types and defaults."""

import sys

import pytest

from ppcore.config import catalogue, components, roles


def entries(kind: str) -> dict[str, catalogue.Entry]:
    return {entry.name: entry for entry in catalogue.components_of(kind)}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", ["ppvit.VisionTransformer", "ppdeit.deit_tiny_patch16_224", "ppllie.classical.Gamma"]),
        ("datasets", ["ppcore.data.ImageFolder", "ppcore.data.Digits", "ppcore.data.DarkenedPhotographs"]),
        ("transforms", ["ppcore.data.Normalize", "ppcore.data.Mixup", "ppcore.data.RandAugment"]),
        ("losses", ["ppcore.losses.CrossEntropy", "ppdeit.Distillation", "ppuhdfour.UHDFourLoss"]),
        ("tasks", ["ppcore.engine.task.Supervised"]),
        ("optimizers", ["ppcore.optim.AdamW", "ppcore.optim.Lamb"]),
        ("schedules", ["ppcore.schedules.TimmCosine"]),
        ("metrics", ["ppcore.metrics.TopK", "ppcore.metrics.ImageQuality"]),
    ],
)
def test_finds_what_configurations_name(kind, names):
    found = entries(kind)
    assert set(names) <= set(found)
    assert all(entry.summary for entry in found.values())


@pytest.mark.parametrize("kind", catalogue.KINDS)
def test_each_once_under_a_name_that_a_configuration_takes(kind):
    found = entries(kind)
    for name, entry in found.items():
        targets = [components.resolve(name, "", role) for role in catalogue.KINDS[kind] if role.plays(entry.target)]
        assert targets == [entry.target]
    assert len({entry.target for entry in found.values()}) == len(found)


def test_what_yaml_cannot_hold_is_left_out():
    assert "ppcore.data.ArrayImages" not in entries("datasets")  # arrays of pixels
    assert "ppcore.data.Dataset" not in entries("datasets")  # a protocol
    assert "ppvit.hybrid.Stem" not in entries("models")  # a part of a model


def test_arguments_types_and_defaults():
    schedule = entries("schedules")["ppcore.schedules.TimmCosine"].arguments
    assert ("base_lr", "number", None) in schedule
    assert ("warmup", "duration", None) in schedule
    assert ("stepping", "per_update | per_epoch | deit_official", "per_update") in schedule
    assert ("reference_batch", "whole number | null", "null") in schedule
    loss = entries("losses")["ppdeit.Distillation"].arguments
    assert ("base", "a criterion", None) in loss
    assert ("teacher", "a Teacher", None) in loss
    assert ("topk", "list of whole number", "[1, 5]") in entries("metrics")["ppcore.metrics.TopK"].arguments


def test_what_the_program_gives_is_no_argument():
    assert {name for name, *_ in entries("optimizers")["ppcore.optim.SGD"].arguments} == set()


def test_a_builder_names_the_class_it_hands_arguments_on_to():
    found = entries("models")
    assert found["ppdeit.deit_tiny_patch16_224"].also == "ppdeit.DeiT"
    assert found["ppvit.VisionTransformer"].also is None
    assert "and the arguments of ppdeit.DeiT" in found["ppdeit.deit_tiny_patch16_224"].text()


def test_layouts_and_who_has_them():
    found = catalogue.layouts()
    assert {"paddle", "timm", "deit", "google", "big_vision", "uhdfour"} <= set(found)
    assert found["uhdfour"] == ["ppuhdfour.UHDFour"]
    assert {"ppvit.VisionTransformer", "ppdeit.DeiT"} <= set(found["timm"])


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package with a criterion and a network in a module, nothing in its `__init__`."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "parts.py").write_text(
        "import paddle.nn as nn\n\n\n"
        "class Net(nn.Layer):\n    'My network.'\n\n    def __init__(self, *, width: int = 3):\n        super().__init__()\n\n\n"
        "class Loss:\n    'My loss.'\n\n    def __call__(self, outputs, batch):\n        return outputs\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    roles.disallow_all()
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_package_of_ones_own(mine):
    assert "mine.parts.Loss" not in entries("losses")
    roles.allow("mine")
    assert entries("losses")["mine.parts.Loss"].summary == "My loss"
    assert entries("models")["mine.parts.Net"].arguments == (("width", "whole number", "3"),)


class TestTool:
    def test_a_kind(self, tool, mine):
        done = tool("list", "losses", "--allow", "mine", path=(mine,))
        assert done.returncode == 0, done.stderr
        assert "mine.parts.Loss: My loss\n" in done.stdout
        assert "ppcore.losses.CrossEntropy: " in done.stdout
        assert "    label_smoothing: number = 0.0\n" in done.stdout

    def test_a_part_of_a_name(self, tool):
        done = tool("list", "layouts", "UHD")
        assert done.stdout == "uhdfour\n    ppuhdfour.UHDFour\n"

    @pytest.mark.parametrize("arguments", [["losses", "nothing_like_it"], ["loses"]])
    def test_nonsense_is_one_line(self, tool, arguments):
        done = tool("list", *arguments)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ")
