"""Expected beside reached: the interval, the words, and the three views."""

import json

import fabricate
import pytest
import yaml
from page import Page
from scipy import stats

from ppcore.report import ReportContent, load_paper, read_run, write_report
from ppcore.report.expectations import expectations
from ppcore.report.formats import seed_list
from ppcore.report.significance import prediction_margin

CONFIG = "configs/quick/vit_digits.yaml"


def paper(tmp_path, **changes):
    """papers/vit.yaml, its first quick configuration expected to reach 95 ± 1 % over three seeds, but for the changes."""
    tables = yaml.safe_load((fabricate.Path(__file__).parents[2] / "papers" / "vit.yaml").read_text())
    tables["quick"][0] |= {"expected": 95.0, "spread": 1.0, "seeds": 3, "test_images": 360} | changes
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(tables, sort_keys=False))
    return load_paper(tmp_path / "paper.yaml")


def runs(tmp_path, *percent, n=360, **changes):
    """Runs of `CONFIG`, of the seeds 0, 1, …, that reached these top-1 accuracies."""
    env = fabricate.trained_with(CONFIG)
    folders = [
        fabricate.write_run(
            tmp_path / f"seed{seed}",
            fabricate.records(seed=seed, top1=value / 100 - 0.01, n=n, **changes),
            config=fabricate.with_global(seed=seed),
            env=env,
        )
        for seed, value in enumerate(percent)
    ]
    return [read_run(folder) for folder in folders]


def reached(tables, ours):
    return next(item["reached"] for item in expectations(ours, tables) if item["config"] == CONFIG)


def test_the_margin_is_that_of_the_prediction_interval():
    """A t test of a new mean against the expected one, with the expected spread, is at 5 % exactly there."""
    half = prediction_margin(1.0, 3, 0.2, 2)
    t = half / (1.0 * (1 / 3 + 1 / 2) ** 0.5)
    assert 2 * stats.t.sf(t, df=2) == pytest.approx(0.05)
    assert prediction_margin(None, 1, 0.2, 4) == pytest.approx(stats.t.ppf(0.975, df=3) * 0.2 * (1 + 1 / 4) ** 0.5)
    assert prediction_margin(None, 1, None, 1) is None


def test_mean_deviation_and_difference(tmp_path):
    result = reached(paper(tmp_path), runs(tmp_path, 94.0, 95.0, 97.0))
    assert result["mean"] == pytest.approx(95.3333, abs=1e-3)
    assert result["spread"] == pytest.approx(1.5275, abs=1e-3)
    assert result["difference"] == pytest.approx(0.3333, abs=1e-3)
    assert result["high"] - 95 == pytest.approx(4.3027 * (2 / 3) ** 0.5, abs=1e-3)
    assert (result["outcome"], result["verdict"]) == ("within", "within the spread")


@pytest.mark.parametrize(
    ("percent", "outcome", "verdict"),
    [
        ((99.5, 99.0), "better", "above by 4.25"),
        ((90.0, 91.0), "worse", "below by 4.50"),
        ((96.0,), "within", "within"),
    ],
)
def test_the_verdict_is_in_words(tmp_path, percent, outcome, verdict):
    result = reached(paper(tmp_path), runs(tmp_path, *percent))
    assert result["outcome"] == outcome
    assert result["verdict"].startswith(verdict)


def test_one_expected_seed_is_judged_by_the_spread_reached(tmp_path):
    result = reached(paper(tmp_path, spread=None, seeds=1), runs(tmp_path, 94.0, 95.0, 97.0))
    assert result["outcome"] == "within"


def test_single_seeds_are_not_judged(tmp_path):
    result = reached(paper(tmp_path, spread=None, seeds=1), runs(tmp_path, 94.0))
    assert result["outcome"] == "unknown"
    assert result["verdict"].startswith("−1.00; single seeds")


def test_another_number_of_images_is_not_compared(tmp_path):
    result = reached(paper(tmp_path), runs(tmp_path, 95.0, 96.0, n=300))
    assert result["outcome"] == "unknown"
    assert result["verdict"] == "not comparable: 300 test images instead of 360"


def test_an_unfinished_run_is_not_averaged(tmp_path):
    whole = runs(tmp_path / "whole", 95.0)
    half = runs(tmp_path / "half", 95.0, stop=200)
    assert reached(paper(tmp_path), [*whole, *half])["mean"] == pytest.approx(95.0)
    assert reached(paper(tmp_path), half)["why_none"] == "no finished run"
    assert reached(paper(tmp_path), [])["why_none"] == "not measured"


def test_page_markdown_and_json_say_it(tmp_path):
    ours = runs(tmp_path, 90.0, 91.0)
    index = write_report(tmp_path / "report", ReportContent("Made up", paper(tmp_path), ours))
    page, markdown = Page(index.read_text()), (tmp_path / "report" / "report.md").read_text()
    [table] = [table for table in page.tables if table[0][0].text == "Configuration"]
    cells = [" ".join(cell.text.split()) for cell in table[1]]
    assert cells[2] == "95.00 ± 1.003 seeds"
    assert cells[3] == "90.50 ± 0.712 seeds (0, 1): 90.00, 91.00"
    assert cells[4].startswith("▼ below by 4.50−4.50; expected ")
    [line] = [line for line in markdown.splitlines() if line.startswith(f"| `{CONFIG}`")]
    assert "| 95.00 ± 1.00 (3 seeds) | 90.50 ± 0.71, 2 seeds (0, 1) | below by 4.50: −4.50" in line
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert data["expected"][0]["reached"]["outcome"] == "worse"


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([0, 1, 2], "3 seeds (0, 1, 2)"),
        ([4], "1 seed (4)"),
        ([None, 1, 2], "3 runs (seeds 1, 2; 1 without a set seed)"),
        ([None, None], "2 runs without a set seed"),
        ([0, 0, 1], "3 runs (seeds 0, 0, 1)"),
    ],
)
def test_seeds_in_words(seeds, words):
    assert seed_list(seeds) == words


def test_a_run_without_a_seed_is_not_called_none(tmp_path):
    folders = [
        fabricate.write_run(tmp_path / name, fabricate.records(seed=number), config=fabricate.with_global(seed=seed))
        for number, (name, seed) in enumerate((("a", None), ("b", 1), ("c", 2)))
    ]
    made_up = [read_run(folder) for folder in folders]
    index = write_report(tmp_path / "report", ReportContent("Made up", runs=made_up))
    for text in (Page(index.read_text()).text, (tmp_path / "report" / "report.md").read_text()):
        assert "3 runs (seeds 1, 2; 1 without a set seed)" in text
        assert "None" not in text
