"""The page on learning without labels says what the code does."""

import json
import re

import numpy as np
import pytest
from conftest import ROOT, as_checkout, run_lines

import ppcore.metrics
import ppssl
from ppcore import config
from ppvit import VisionTransformer

PAGE = (ROOT / "docs" / "self_supervised.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    lines = PAGE[PAGE.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def commands() -> list[str]:
    return [
        line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.S | re.M) for line in block.splitlines()
    ]


@pytest.mark.slow
def test_its_commands_in_their_order(tmp_path):
    """Shorter trainings; the number of every stop is the one before."""
    as_checkout(tmp_path)
    (tmp_path / "photos").symlink_to(tmp_path / "data" / "imagenet" / "val" / "coffee")
    short = "-o 'Global.duration={steps: 4}' -o 'Global.eval_every={steps: 4}' -o 'Global.save_every={steps: 4}'"
    lines = commands()
    assert len(lines) == 6
    said = run_lines([f"{line} {short}" if "train.py" in line else line for line in lines], tmp_path)
    learned, tuned = (
        json.loads((tmp_path / "output" / run / "metrics.jsonl").read_text().splitlines()[-1])["best"]
        for run in ("mae_digits", "finetune_digits_mae")
    )
    assert f"{100 * learned['linear4']:.2f}" in said[1]
    assert json.loads(said[3])["top1"] == tuned["top1"]
    assert (tmp_path / "digits_mae" / "manifest.json").is_file()
    with np.load(tmp_path / "seen" / "features.npz") as found:
        assert found["features"].shape == (2, 64)
    assert len(list((tmp_path / "seen").glob("*.png"))) == 2


def test_its_tasks_and_networks():
    found = rows("method")
    assert len(found) == 8
    for cells in found:
        for name in re.findall(r"`ppssl\.(\w+)`", " ".join(cells)):
            assert name in ppssl.__all__, name


def test_its_sources_are_those_of_a_vit():
    named = [name for cells in rows("`source`") for name in re.findall(r"`(\w+)`", cells[0])]
    assert len(named) == 5
    assert set(named) <= set(VisionTransformer(depth=1, embed_dim=8, num_heads=2).weight_maps())


def test_its_evaluators():
    for name, key, _ in rows("`Metric`"):
        package, _, part = re.search(r"`([\w.]+)`", name).group(1).rpartition(".")
        made = {"ppssl": ppssl, "ppcore.metrics": ppcore.metrics}[package]
        arguments = {"train": None} if part in ("LinearProbe", "WeightedKNN") else {}
        arguments |= {"per_class": 4} if "per_class" in name else {}
        assert getattr(made, part)(**arguments).specs[0].key == key.strip("`")


def test_its_configurations_are_there():
    for path in re.findall(r"configs/\S+\.yaml", PAGE):
        config.load(ROOT / path)
