"""What an alpha costs in the quick trainings, as papers/litv2.yaml says."""

import re

import pytest
import yaml
from source_tree import ROOT

from ppcore import config
from ppcore.config import components

PAPER = yaml.safe_load((ROOT / "papers" / "litv2.yaml").read_text(encoding="utf-8"))
[ALPHA] = [item for item in PAPER["ablations"] if item["id"] == "alpha"]


@pytest.mark.parametrize(("data", "said"), [("cifar10", "CIFAR-10"), ("digits", "digits")])
def test_the_note_says_what_the_networks_count(data, said):
    numbers = re.search(rf"{said} ([\d., and]+) M", ALPHA["note"])[1]
    wanted = [float(number) for number in re.findall(r"\d+\.\d+", numbers)]
    arch = dict(config.load([ROOT / "configs" / "quick" / f"litv2_{data}.yaml"]).Arch)
    found = [components.build(arch | {"alpha": alpha}).flops() / 1e6 for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert wanted == [pytest.approx(one, abs=0.005) for one in found]
