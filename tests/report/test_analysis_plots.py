"""Curves beside published points: values, drawing, and the three views."""

import json
import re
from dataclasses import replace

import fabricate
import numpy as np
import pytest
import yaml
from page import Page

from ppcore.report import ReportContent, load_paper, write_report
from ppcore.report.analysis_plots import analysis_curves, analysis_drawing


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(fabricate.comparing_paper()))
    return load_paper(path)


def test_mean_and_range_by_layer(paper):
    tokens, two = analysis_curves(paper, fabricate.curves())
    digits, cifar = tokens["curves"]
    np.testing.assert_allclose(digits["mean"], [0.06, 0.26, 0.46, 0.66, 0.86])
    np.testing.assert_allclose(digits["low"], np.array(digits["mean"]) - 0.01)
    np.testing.assert_allclose(digits["high"], np.array(digits["mean"]) + 0.01)
    assert (digits["seeds"], digits["images"], digits["label"]) == ([0, 1, 2], 256, "made-up digits")
    assert (cifar["mean"], cifar["why_none"]) == ([], "not run")
    assert [(point["x"], point["place"], point["y"]) for point in tokens["published"]] == [
        ("first", 0, 0.06),
        ("last", 4, 0.93),
    ]
    assert [point["place"] for point in two["published"]] == [4]


def test_configs_of_one_data_set_are_told_apart(paper):
    both = [f"configs/quick/made_digits_{name}.yaml" for name in ("token", "two_class")]
    analysis = paper.analyses[0].model_copy(update={"quick": both})
    [item] = analysis_curves(paper.model_copy(update={"analyses": [analysis]}), [])
    assert [curve["label"] for curve in item["curves"]] == [
        "made-up digits, made_digits_token",
        "made-up digits, made_digits_two_class",
    ]


def test_runs_of_different_depth_have_no_mean(paper):
    rows = fabricate.curves()
    rows[0] = replace(rows[0], values=rows[0].values[:3])
    curve = analysis_curves(paper, rows)[0]["curves"][0]
    assert curve["mean"] == []
    assert "different numbers of layers" in curve["why_none"]


def test_the_drawing_has_our_line_and_the_published_points(paper):
    svg = analysis_drawing(analysis_curves(paper, fabricate.curves())[0])
    for text in (
        "Layer (0 = entering the first block)",
        "cosine similarity",
        "ours: made-up digits",
        "published, not ours",
    ):
        assert text in svg
    line = re.search(r'<g id="analysis_tokens-line2d_\d+">\s*<path d="([^"]*)"[^>]*var\(--c1\)', svg).group(1)
    points = re.findall(r"[ML] ([\d.]+) ([\d.]+)", line)
    assert len(points) == 5
    diamonds = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*var\(--ink\)', svg)
    last = max(diamonds, key=lambda point: float(point[0]))
    # 0.93 published above 0.86 ours at the last layer, on the scale that our own points set (y runs downwards).
    (x0, y0), (x4, y4) = ((float(x), float(y)) for x, y in (points[0], points[-1]))
    assert float(last[0]) == pytest.approx(x4, abs=0.01)
    assert float(last[1]) == pytest.approx(y4 + (0.93 - 0.86) * (y4 - y0) / (0.86 - 0.06), abs=0.01)
    assert min(float(x) for x, _ in diamonds) == pytest.approx(x0, abs=0.01)


def test_all_views(tmp_path, paper):
    index = write_report(
        tmp_path / "report",
        ReportContent("x", paper, analyses=[row for row in fabricate.curves() if row.analysis == "tokens"]),
    )
    page = Page(index.read_text())
    markdown = (tmp_path / "report" / "report.md").read_text()
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    for text in (page.text, markdown):
        for words in (
            "Averaged over test images.",
            "0.06 at the first layer, 0.93 at the last layer",
            "Table 3",
            "0.860",
        ):
            assert words in text, words
    assert page.source.count("<svg") == 1  # the second analysis has no curve, so no drawing
    assert "pictures/analysis_tokens.svg" in markdown
    assert "pictures/analysis_two_class.svg" not in markdown
    drawn = (tmp_path / "report" / "pictures" / "analysis_tokens.svg").read_text()
    assert "prefers-color-scheme: dark" in drawn
    assert not (tmp_path / "report" / "pictures" / "analysis_two_class.svg").exists()
    assert data["analyses"][0]["curves"][0]["mean"][4] == pytest.approx(0.86)
    assert "| ours, made-up digits | not run |" in markdown
    tables = [table for table in page.tables if table[0][0].text == "Cosine similarity by layer"]
    rows = [[[cell.text for cell in row] for row in table[1:]] for table in tables]
    assert [row[1:] for row in rows[0]] == [["0.060", "0.260", "0.460", "0.660", "0.860"], ["not run"]]
    assert [row[1:] for row in rows[1]] == [["not run"]]
