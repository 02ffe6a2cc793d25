"""What trainings logged, beside limits: numbers over seeds, the drawing, the views, and mistakes in the paper's page."""

import json
import re

import fabricate
import numpy as np
import pytest
import yaml
from page import Page

from ppcore.errors import ConfigError
from ppcore.report import ReportContent, load_paper, read_run, write_report
from ppcore.report.monitor_plots import monitor_curves, monitor_drawing

MONITORS = [
    {
        "key": "teacher_entropy",
        "title": "Entropy of the teacher",
        "note": "Between the limits.",
        "limits": [{"value": 0.0, "caption": "one output for all"}, {"value": 5.545, "caption": "ln K, all alike"}],
    },
    {"key": "center_norm", "title": "Norm of the centre"},
    {"key": "contrast_accuracy", "title": "Logged by nobody", "limits": [{"value": 0.5, "caption": "chance"}]},
]


def loaded(folder, monitors=MONITORS):
    path = folder / "paper.yaml"
    path.write_text(yaml.safe_dump({**fabricate.comparing_paper(), "monitors": monitors}))
    return load_paper(path)


def made(folder, name, seed, logs, stop=None):
    """A run of 200 steps that logs every fifth; `logs` gives what a step logs beside the loss."""
    lines = fabricate.records(seed=seed, steps=200, stop=stop)
    lines = [line | logs(line["step"]) if line["kind"] == "train" else line for line in lines]
    env = fabricate.trained_with(f"configs/quick/{name}.yaml")
    return read_run(
        fabricate.write_run(folder / f"{name}_seed{seed}", lines, config=fabricate.with_global(seed=seed), env=env)
    )


@pytest.fixture
def runs(tmp_path):
    """Two configs of two seeds that log the entropy, of which one collapses and one run stops early; one that logs nothing."""
    return [
        made(tmp_path, "made_digits_plain", 0, lambda step: {"teacher_entropy": 4.0, "center_norm": step / 100}),
        made(tmp_path, "made_digits_plain", 1, lambda step: {"teacher_entropy": 4.5, "center_norm": step / 100}, stop=100),
        made(tmp_path, "made_digits_hard", 0, lambda step: {"teacher_entropy": 5.0 + step / 400}),
        made(tmp_path, "made_digits_hard", 1, lambda step: {"teacher_entropy": np.nan if step == 50 else 5.5}),
        made(tmp_path, "made_digits_soft", 0, lambda step: {}),
    ]  # fmt: skip


def test_mean_and_range_at_the_steps_that_all_logged(tmp_path, runs):
    entropy, centre = monitor_curves(loaded(tmp_path), runs)
    assert [entropy["key"], centre["key"]] == ["teacher_entropy", "center_norm"], "what nobody logged is left out"
    plain, hard = entropy["curves"]
    assert [plain["label"], hard["label"]] == ["plain", "hard"]
    assert (plain["seeds"], plain["steps"]) == ([0, 1], list(range(5, 101, 5)))
    assert (plain["mean"][3], plain["low"][3], plain["high"][3]) == (4.25, 4.0, 4.5)
    assert hard["steps"] == [step for step in range(5, 201, 5) if step != 50]
    assert hard["first"] == hard["least"] == pytest.approx((5.0 + 5 / 400 + 5.5) / 2)
    assert hard["last"] == hard["most"] == pytest.approx(5.5)
    [alone] = centre["curves"]
    assert (alone["config"], alone["first"], alone["last"]) == ("made_digits_plain", 0.05, 1.0)


def test_no_step_in_common(tmp_path, runs):
    lines = [made(tmp_path / name, "made_digits_plain", 0, lambda step, at=at: {"center_norm": 1.0} if step == at else {})
             for name, at in (("a", 5), ("b", 10))]  # fmt: skip
    [curve] = monitor_curves(loaded(tmp_path), lines)[0]["curves"]
    assert (curve["steps"], curve["last"], curve["why_none"]) == ([], None, "the runs have no step in common")
    assert "<svg" in monitor_drawing(monitor_curves(loaded(tmp_path), lines)[0])


def line(svg, colour):
    """Points of the line of a colour."""
    path = re.search(rf'<g id="monitor_\w+-line2d_\d+">\s*<path d="([^"]*)"[^>]*stroke: var\(--{colour}\)', svg).group(
        1
    )
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)]


def test_the_drawing_has_lines_bands_and_limits_on_one_scale(tmp_path, runs):
    entropy, _ = monitor_curves(loaded(tmp_path), runs)
    svg = monitor_drawing(entropy)
    for text in ("teacher entropy", "Step", "one output for all (0)", "ln K, all alike (5.545)", ">plain<", ">hard<"):
        assert text in svg
    first, second = line(svg, "c1"), line(svg, "c2")
    assert (len(first), len(second)) == (20, 39)
    limits = [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)]
        for path in re.findall(r'<path d="([^"]*)" [^>]*stroke: var\(--muted\); stroke-width: 1.2', svg)
    ]
    (low, high) = (path[0][1] for path in limits[:2])
    # 4.25 between the limits 0 and 5.545, y running downwards.
    assert first[3][1] == pytest.approx(low + 4.25 / 5.545 * (high - low), abs=0.01)
    assert svg.count("FillBetweenPolyCollection") == 2 or svg.count("PolyCollection") == 2


def test_all_views(tmp_path, runs):
    index = write_report(tmp_path / "report", ReportContent("x", loaded(tmp_path), runs))
    page, folder = Page(index.read_text()), tmp_path / "report"
    markdown, data = (folder / "report.md").read_text(), json.loads((folder / "report.json").read_text())
    for text in (page.text, markdown):
        for words in (
            "What was watched in training",
            "Between the limits.",
            "ln K, all alike (5.545)",
            "Norm of the centre",
        ):
            assert words in text, words
        assert "Logged by nobody" not in text
    assert "#monitors" in page.values("href")
    [table] = [table for table in page.tables if table[0][0].text == "Runs"]
    rows = [[cell.text for cell in row] for row in table]
    assert ["plain", "2", "4.25", "4.25", "4.25", "4.25", "5–100"] in rows
    assert "| plain | 2 | 4.25 | 4.25 | 4.25 | 4.25 | 5–100 |" in markdown
    assert "(pictures/monitor_teacher_entropy.svg)" in markdown
    assert "prefers-color-scheme: dark" in (folder / "pictures" / "monitor_center_norm.svg").read_text()
    assert not (folder / "pictures" / "monitor_contrast_accuracy.svg").exists()
    assert data["monitors"][0]["curves"][0]["mean"] == [4.25] * 20
    assert data["monitors"][0]["limits"][1] == {"value": 5.545, "caption": "ln K, all alike"}


def test_without_monitors_or_logs_there_is_no_section(tmp_path, runs):
    for name, monitors, some in (("none", [], runs), ("unlogged", MONITORS, runs[-1:])):
        index = write_report(tmp_path / name, ReportContent("x", loaded(tmp_path, monitors), some))
        assert "watched in training" not in index.read_text()
        assert json.loads((tmp_path / name / "report.json").read_text())["monitors"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m[0].update(keys="x"), "monitors.0.keys: unknown key"),
        (lambda m: m[0].update(key="Teacher entropy"), "monitors.0.key"),
        (lambda m: m[0].pop("title"), "monitors.0.title"),
        (lambda m: m[1].update(key="teacher_entropy"), "monitors: the key 'teacher_entropy' is used twice"),
        (lambda m: m[0]["limits"][0].update(value="ln K"), "monitors.0.limits.0.value"),
        (lambda m: m[0]["limits"][0].update(value=float("inf")), "monitors.0.limits.0.value"),
        (lambda m: m[0]["limits"][0].update(caption=""), "monitors.0.limits.0.caption"),
        (lambda m: m[0].update(limits=[3.0]), "monitors.0.limits.0"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, change, words):
    monitors = json.loads(json.dumps(MONITORS))
    change(monitors)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, monitors)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
