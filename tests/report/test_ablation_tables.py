"""The paper's comparisons beside ours: the arithmetic, the words, and the three views."""

import json
import math

import fabricate
import pytest
import yaml
from page import Page

from ppcore.report import ReportContent, load_paper, read_run, write_report
from ppcore.report.ablation_tables import ablation_tables
from ppcore.report.significance import (
    NO_NUMBER,
    NOT_RUN,
    OPPOSITE,
    SAME,
    TIE,
    UNCLEAR,
    Difference,
    chance,
    difference,
    in_words,
)


class TestDifference:
    def test_same_seeds_are_compared_seed_by_seed(self):
        """Differences 1, 2, 3: mean 2, deviation 1, so a standard error of 1 / sqrt(3)."""
        found = difference({0: 11.0, 1: 22.0, 2: 33.0}, {2: 30.0, 1: 20.0, 0: 10.0})
        assert (found.mean, found.paired, found.seeds) == (2.0, True, 3)
        assert found.standard_error == pytest.approx(1 / math.sqrt(3))

    def test_other_seeds_are_independent(self):
        """Variances 1 and 4 over 3 and 2 seeds: sqrt(1/3 + 4.5/2) with variance 4.5 of 10 and 13."""
        found = difference({0: 1.0, 1: 2.0, 2: 3.0}, {0: 10.0, 7: 13.0})
        assert (found.paired, found.seeds) == (False, 2)
        assert found.mean == pytest.approx(2 - 11.5)
        assert found.standard_error == pytest.approx(math.sqrt(1 / 3 + 4.5 / 2))

    def test_one_seed_has_no_error_and_no_seed_no_difference(self):
        assert difference({0: 2.0}, {0: 1.0}) == Difference(1.0, None, True, 1)
        assert difference({}, {0: 1.0}) is None
        assert difference({0: 1.0}, {}) is None


class TestInWords:
    @pytest.mark.parametrize(
        ("published", "mean", "error", "words"),
        [
            (1.0, 0.5, 0.25, SAME),  # exactly two standard errors
            (1.0, 0.5, 0.2501, UNCLEAR),
            (-1.0, -0.5, 0.1, SAME),
            (1.0, -0.5, 0.1, OPPOSITE),
            (-1.0, 0.5, 0.1, OPPOSITE),
            (1.0, 5.0, None, UNCLEAR),  # one seed shows nothing, however large
            (1.0, 0.0, 0.0, UNCLEAR),
            (0.0, 5.0, 0.1, TIE),
            (72.2 - 72.2, 5.0, 0.1, TIE),
            (None, 5.0, 0.1, NO_NUMBER),
        ],
    )
    def test_words(self, published, mean, error, words):
        assert in_words(published, Difference(mean, error, True, 3)) == words

    def test_not_run_comes_first(self):
        assert in_words(None, None) == in_words(0.0, None) == in_words(1.0, None) == NOT_RUN

    def test_chance_against_closed_forms(self):
        """Student's t beyond 2: 1 - 2 atan(2) / pi with one degree of freedom, 1 - 2 / sqrt(6) with two."""
        assert chance(2) == pytest.approx(1 - 2 * math.atan(2) / math.pi, abs=1e-6)
        assert chance(3) == pytest.approx(1 - 2 / math.sqrt(6), abs=1e-6)
        assert chance(1001) == pytest.approx(0.0455, abs=5e-4)  # the normal distribution's 4.55 %


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """The report of fabricate's ablations: page, Markdown, JSON."""
    folder = tmp_path_factory.mktemp("ablations")
    (folder / "paper.yaml").write_text(yaml.safe_dump(fabricate.comparing_paper()))
    index = write_report(
        folder / "report",
        ReportContent(
            title="Made-up report",
            paper=load_paper(folder / "paper.yaml"),
            runs=[read_run(run) for run in fabricate.comparing_runs(folder)],
            fidelity=fabricate.FIDELITY,
            ablations=fabricate.evaluations(),
            analyses=fabricate.curves(),
        ),
    )
    data = json.loads((folder / "report" / "report.json").read_text())
    return Page(index.read_text()), (folder / "report" / "report.md").read_text(), data


def words(data: dict, row: str, base: str) -> list[str]:
    [found] = [item for item in data["ablations"][0]["comparisons"] if (item["row"], item["base"]) == (row, base)]
    return [one["significance"] for one in found["ours"]]


def test_numbers_are_of_the_named_configs_alone(made_up):
    *_, data = made_up
    rows = {row["name"]: row for row in data["ablations"][0]["rows"]}
    assert list(rows) == [row["name"] for row in fabricate.comparing_paper()["ablations"][0]["rows"]]
    digits, cifar = rows["hard distillation"]["ours"]
    assert digits["mean"] == pytest.approx((96.0 + 96.2 + 96.6) / 3)
    assert digits["spread"] == pytest.approx(0.3055, abs=1e-4)
    assert (digits["seeds"], digits["n"], cifar["n"]) == (3, 360, 10_000)
    assert cifar["mean"] == pytest.approx(49.7)
    assert rows["hard distillation"]["published"] == 74.3
    # The same weights, read in two ways: once more evaluated, and as training left them.
    assert rows["with token: class head"]["ours"][0]["mean"] == pytest.approx((95.7 + 96.0 + 96.2) / 3)
    assert rows["with token: both heads"]["ours"][0]["mean"] == pytest.approx((96.1 + 96.0 + 96.9) / 3)


def test_the_words_are_what_the_made_up_numbers_say(made_up):
    *_, data = made_up
    assert words(data, "soft distillation", "no distillation") == [TIE, NOT_RUN]
    assert words(data, "hard distillation", "soft distillation") == [SAME, NOT_RUN]
    assert words(data, "hard distillation", "no distillation") == [SAME, OPPOSITE]
    assert words(data, "with token: class head", "hard distillation") == [SAME, NOT_RUN]  # the paper's drops too
    assert words(data, "with token: both heads", "with token: class head") == [UNCLEAR, NOT_RUN]
    assert words(data, "with token: both heads", "no distillation") == [SAME, UNCLEAR]  # one seed on the second
    assert words(data, "longer", "no distillation") == [NOT_RUN, NOT_RUN]
    assert len(data["ablations"][0]["comparisons"]) == 5 + 4  # the second row's is both at once
    assert data["ablations"][0]["summary"][0] == {
        "dataset": "made-up digits", "comparisons": 9, "same": 5, "opposite": 0, "unclear": 1, "tie": 1,
        "no_number": 0, "not_run": 2,
    }  # fmt: skip


def test_the_page_shows_rows_in_the_papers_order_and_never_a_published_figure_as_ours(made_up):
    page, _, _ = made_up
    [table] = [table for table in page.tables if table[0][1].text == "Published, not ours"]
    assert [row[0].text for row in table[2:]] == [
        row["name"] for row in fabricate.comparing_paper()["ablations"][0]["rows"]
    ]
    published = {"72.2", "74.3", "73.9", "74.5"}
    for row in table[2:]:
        assert row[1].text in {*published, "–"}
        assert "ours" not in row[1].classes
        for cell in row[3:]:
            assert "ours" in cell.classes
            assert not any(value in cell.text for value in published)
    soft = [" ".join(cell.text.split()) for cell in table[3]]
    assert soft[1:5] == ["72.2", "0.0", "94.60 ± 0.363 seeds", "= the paper shows a tie+0.10 ± 0.40, seed by seed"]
    assert soft[5:] == ["not run", "not run"]
    longer = [cell.text.strip() for cell in table[-1]]
    assert longer == ["longer", "–", "–", "not run", "not run", "not run", "not run"]


def test_every_view_says_it(made_up):
    page, markdown, data = made_up
    for text in (page.text, markdown):
        for word in (
            "The made-up teacher is a small convnet here.",
            "ImageNet, a made-up model, 224 px",
            "94.60 ± 0.36",
            SAME,
            OPPOSITE,
            UNCLEAR,
            TIE,
            "with 3 seeds, chance alone passes that bar in 18 % of comparisons",
            "Arch.eval_head=class",
            "Table 3",
        ):
            assert word in text, word
    line = "| hard distillation against soft distillation (the row above) | +2.1 | **same direction as the paper**: "
    assert line + "+1.67 ± 0.12 | not run |" in markdown
    assert data["ablations"][0]["note"] == "The made-up teacher is a small convnet here."


def test_a_paper_without_ablations_says_nothing_of_them(tmp_path):
    paper = fabricate.comparing_paper()
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump({**paper, "ablations": [], "analyses": []}))
    index = write_report(tmp_path / "report", ReportContent("x", load_paper(tmp_path / "paper.yaml")))
    page = Page(index.read_text())
    assert not {"ablations", "analyses", "pictures"} & set(page.values("id"))
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert not any(data[key] for key in ("ablations", "analyses", "predictions", "predictions_note"))
    assert "ordering show" not in (tmp_path / "report" / "report.md").read_text()


def loaded(tmp_path, runs: list, **arguments) -> dict:
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(fabricate.comparing_paper()))
    paper = load_paper(tmp_path / "paper.yaml")
    return ablation_tables(paper, [read_run(run) for run in runs], arguments.get("evaluations", []))[0]


def run_of(folder, name: str, seed: int, **changes):
    env = fabricate.trained_with(f"configs/quick/{name}.yaml", f"Global.seed={seed}")
    lines = fabricate.records(**({"seed": seed, "top1": 0.9} | changes))
    return fabricate.write_run(folder, lines, config=fabricate.with_global(seed=seed), env=env)


def test_an_unfinished_run_is_not_counted_and_said(tmp_path):
    whole = run_of(tmp_path / "a", "made_digits_plain", 0)
    cut = run_of(tmp_path / "b", "made_digits_plain", 1, stop=200)
    cell = loaded(tmp_path, [whole, cut])["rows"][0]["ours"][0]
    assert (cell["seeds"], cell["unfinished"], cell["mean"]) == (1, 1, pytest.approx(91.0))
    cell = loaded(tmp_path, [cut])["rows"][0]["ours"][0]
    assert (cell["mean"], cell["why_none"]) == (None, "not run to the end")


@pytest.mark.parametrize(
    ("seed", "n", "why"), [(0, 360, "two runs have the same seed"), (1, 100, "different numbers of images")]
)
def test_runs_that_are_not_alike_have_no_mean(tmp_path, seed, n, why):
    runs = [run_of(tmp_path / "a", "made_digits_plain", 0), run_of(tmp_path / "b", "made_digits_plain", seed, n=n)]
    runs += [run_of(tmp_path / f"soft{i}", "made_digits_soft", i) for i in range(2)]
    ablation = loaded(tmp_path, runs)
    cell = ablation["rows"][0]["ours"][0]
    assert cell["mean"] is None
    assert why in cell["why_none"]
    assert ablation["comparisons"][0]["ours"][0]["significance"] == NOT_RUN


def test_another_test_set_is_not_compared(tmp_path):
    runs = [run_of(tmp_path / f"plain{i}", "made_digits_plain", i) for i in range(2)]
    runs += [run_of(tmp_path / f"soft{i}", "made_digits_soft", i, n=100) for i in range(2)]
    assert loaded(tmp_path, runs)["comparisons"][0]["ours"][0]["difference"] is None


def test_rows_with_options_never_take_what_training_left(tmp_path):
    ablation = loaded(tmp_path, [run_of(tmp_path / "a", "made_digits_token", 0)])
    by_name = {row["name"]: row["ours"][0] for row in ablation["rows"]}
    assert by_name["with token: both heads"]["mean"] is not None
    assert by_name["with token: class head"]["why_none"] == "not run"


def test_a_run_belongs_to_the_config_it_was_trained_with(tmp_path):
    """By what the run records of it: not by a name that ends alike, nor by what its command says."""
    names = ("made_digits_plain", "other_made_digits_plain", "made_digits_plai")
    env = fabricate.trained_with("configs/quick/made_digits_plain.yaml") | {"config": None}
    runs = [run_of(tmp_path / name, name, 0) for name in names]
    runs.append(fabricate.write_run(tmp_path / "unnamed", fabricate.records(), env=env))
    cell = loaded(tmp_path, runs)["rows"][0]["ours"][0]
    assert [value["run"] for value in cell["values"]] == ["made_digits_plain"]
