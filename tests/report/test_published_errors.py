"""Errors in percent where runs record accuracies, and figures of one kind of training."""

import copy
import json
from pathlib import Path

import fabricate
import pytest
import yaml

from ppcore.errors import ConfigError
from ppcore.metrics import MetricSpec
from ppcore.report import ReportContent, html, load_paper, read_run, write_report

FIXMATCH = Path(__file__).parents[2] / "papers" / "fixmatch.yaml"
ERROR = MetricSpec("top1", "Error", "top-1 error", "%", factor=-100, offset=100, digits=2, higher_is_better=False)
CONFIG = {
    **fabricate.CONFIG,
    "Arch": {"name": "ppssl.wide_resnet28_2", "num_classes": 10},
    "Task": {"name": "ppssl.FixMatch", "threshold": 0.95},
    "DataLoader": {
        "Beside": {"labelled": {"dataset": {"dataset": {"per_class": 25}}}},
        "Eval": {"dataset": {"name": "ppcore.data.PaddleVision", "dataset": "Cifar10", "split": "test"}, "transforms": {}},
    },
}  # fmt: skip


def report(folder: Path, change=lambda config: None, paper: Path = FIXMATCH) -> dict:
    """The numbers of a report with a run of accuracy 0.94, averaged weights 0.95, by a changed configuration."""
    config = copy.deepcopy(CONFIG)
    change(config)
    run = read_run(fabricate.write_run(folder / "run", fabricate.records(n=10_000, top1=0.94), config=config))
    content = ReportContent("FixMatch", runs=[run], paper=load_paper(paper))
    write_report(folder / "report", content)
    return json.loads((folder / "report" / "report.json").read_text())


def test_an_accuracy_is_written_as_an_error():
    assert ERROR.written(0.949) == pytest.approx(5.1)
    assert MetricSpec("top1", "Top-1", "top-1", factor=100).written(0.949) == pytest.approx(94.9)
    assert ERROR.recorded(ERROR.written(0.25)) == 0.25
    assert load_paper(FIXMATCH).metric() == ERROR


def test_ours_stands_beside_the_figure_of_the_same_labels(tmp_path):
    data = report(tmp_path)
    [row] = data["published_vs_ours"]
    assert (row["published"], row["dataset"]) == (5.07, "CIFAR-10, 250 labels")
    assert row["ours"] == pytest.approx(100 - 95)
    assert row["difference"] == pytest.approx(5 - 5.07)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "5.07" in text
    assert "28.54" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["Task"].update(name="ppssl.PseudoLabel"),
        lambda config: config.pop("Task"),
        lambda config: config["DataLoader"].pop("Beside"),
        lambda config: config["DataLoader"]["Beside"]["labelled"]["dataset"]["dataset"].update(per_class=26),
    ],
)
def test_another_training_is_another_measurement(tmp_path, change):
    assert report(tmp_path, change)["published_vs_ours"] == []


def test_the_labels_say_which_figure(tmp_path):
    def forty(config):
        config["DataLoader"]["Beside"]["labelled"]["dataset"]["dataset"]["per_class"] = 4

    [row] = report(tmp_path, forty)["published_vs_ours"]
    assert row["published"] == 13.81


def test_an_expectation_and_a_line_beside_the_curve(tmp_path):
    """What is expected is an error; the curve is of accuracies, and the published error stands where it is among them."""
    data = yaml.safe_load(FIXMATCH.read_text())
    cell = {"table": "table2", "row": "FixMatch, RandAugment", "column": "CIFAR-10, 250 labels"}
    expected = {"expected": 4.0, "spread": 0.1, "seeds": 3, "test_images": 10_000, "published": cell}
    data["quick"] = [{"config": "configs/made_up.yaml", "dataset": "made up", **expected}]
    for comparisons in ("ablations", "analyses", "figures_drawn"):  # of its own quick trainings
        data.pop(comparisons, None)
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(data))
    found = report(tmp_path, paper=tmp_path / "paper.yaml")
    [item] = found["expected"]
    assert item["reached"]["mean"] == pytest.approx(5.0)
    assert item["reached"]["difference"] == pytest.approx(1.0)
    assert item["reached"]["outcome"] == "worse"
    run = read_run(tmp_path / "run")
    content = ReportContent("FixMatch", runs=[run], paper=load_paper(tmp_path / "paper.yaml"))
    [level] = html._levels(content).values()
    assert level.text == "published: FixMatch, RandAugment, error 5.07"
    assert level.value == pytest.approx(94.93)


def test_a_setting_is_a_key(tmp_path):
    data = yaml.safe_load(FIXMATCH.read_text())
    data["datasets"]["cifar10_40"]["training"] = {"per_class": 4}
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=r"write a key as Section\.key, not 'per_class'"):
        load_paper(tmp_path / "broken.yaml")
