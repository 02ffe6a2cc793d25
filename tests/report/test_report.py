"""What a written report contains, and what it must never contain."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import fabricate
import numpy as np
import pytest
from page import Page

from ppcore.errors import ConfigError, PPError
from ppcore.report import ReportContent, content, load_paper, load_rows, published_vs_ours, read_run, write_report
from ppcore.report.content_types import ClassifiedImage
from ppcore.report.drawing import standalone
from ppcore.report.significance import wilson
from ppcore.report.training_curves import loss_curve

VIT = Path(__file__).parents[2] / "papers" / "vit.yaml"


@pytest.fixture(scope="module")
def paper():
    return load_paper(VIT)


def report(folder: Path, runs: list[Path], paper, **changes) -> tuple[Page, str, dict]:
    about = {"fidelity": fabricate.FIDELITY, "title": "Made-up report"} | changes
    index = write_report(folder / "report", ReportContent(paper=paper, runs=[read_run(run) for run in runs], **about))
    markdown = (folder / "report" / "report.md").read_text()
    return Page(index.read_text()), markdown, json.loads((folder / "report" / "report.json").read_text())


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory, paper):
    """Three seeds at 94, 95 and 97 % (averaged weights), with pictures."""
    folder = tmp_path_factory.mktemp("three")
    runs = [
        fabricate.write_run(
            folder / f"seed{seed}", fabricate.records(seed=seed, top1=top1), config=fabricate.with_global(seed=seed)
        )
        for seed, top1 in enumerate((0.93, 0.94, 0.96))
    ]
    return folder, *report(folder, runs, paper, classified=fabricate.classified())


def test_the_result_is_the_mean_and_sample_deviation_with_images_and_protocol(three_seeds):
    _, page, markdown, data = three_seeds
    assert data["experiments"][0]["value"] == pytest.approx(95.3333, abs=1e-3)
    assert data["experiments"][0]["spread"] == pytest.approx(
        1.5275, abs=1e-3
    )  # sqrt(((4/3)^2 + (1/3)^2 + (5/3)^2) / 2)
    for text in (page.text, markdown):
        for words in (
            "95.33 ± 1.53",
            "360 test images",
            "3 seeds (0, 1, 2)",
            "Digits (test)",
            "top-1 over 360 images",
            "step 400",
        ):
            assert words in text


def test_what_was_run_is_all_there(three_seeds):
    _, page, markdown, _ = three_seeds
    for words in (
        fabricate.ENV["command"],
        fabricate.ENV["git_sha"],
        "paddle 3.3.1",
        "numpy 2.0.0",
        "Made-up CPU",
        "41 s",
    ):
        assert words in page.text
        assert words in markdown.replace("\\_", "_")


def test_fidelity_rows_are_shown_with_measure_tolerance_and_status(three_seeds):
    _, page, markdown, data = three_seeds
    rows = {row[0].text: [cell.text for cell in row[1:]] for table in page.tables for row in table}
    assert rows["logits, made-up model"][:4] == ["✓ passed", "1.3e-06", "2.0e-05", "max |Δ| / max"]
    assert rows["tokens of 12 blocksworst in block_07"][0] == "✗ failed"
    missing = rows["MNIST test accuracythe MNIST files are not on this machine"]
    assert missing[:2] == ["– not run here", "–"]
    assert (data["fidelity"]["passed"], data["fidelity"]["failed"], data["fidelity"]["not_run"]) == (3, 1, 1)
    assert "the MNIST files are not on this machine" in markdown
    assert "**failed**" in markdown
    assert [level["level"] for level in data["fidelity"]["levels"]] == [1, 2, 3, 4, 5]


def test_the_page_is_one_accessible_file_that_fetches_nothing(three_seeds):
    _, page, _, _ = three_seeds
    assert ("html", "lang", "en") in page.attributes
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "data", "poster", "action") or (
            name == "href" and tag in ("link", "use", "image")
        ):
            assert value.startswith(("data:", "#")), (tag, name, value[:80])
        if name.endswith("href") and tag == "a" and not value.startswith("#"):
            assert value in ("report.md", "report.json") or value.startswith("https://"), value
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _, _ in page.attributes}
    assert "<script" not in page.source
    assert "@import" not in page.source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page.source))
    images = [dict(a) for a in _images(page.source)]
    assert len(images) == 12
    assert all(image["alt"] for image in images)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    anchors = [
        value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href" and value.startswith("#")
    ]
    assert set(anchors) <= set(ids)


def _images(source: str) -> list[list[tuple[str, str]]]:
    return [re.findall(r'(\w+)="([^"]*)"', tag) for tag in re.findall(r"<img [^>]*>", source)]


def test_pictures_are_the_images_given(three_seeds):
    folder, page, _, data = three_seeds
    first = base64.b64decode(_images(page.source)[0][0][1].removeprefix("data:image/png;base64,"))
    shown = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    original = fabricate.classified()[0].image
    np.testing.assert_array_equal(shown[14::28, 14::28], original)  # 8 px enlarged 28 times, pixels kept
    assert [card["correct"] for card in data["predictions"]] == [True, True, True, False, True, True]
    sheet = cv2.imread(str(folder / "report" / "pictures" / "predictions.png"))
    assert sheet is not None
    assert sheet.shape[1] > 1500
    assert page.text.count("✗ wrong") == 1


def test_curves_are_drawings_of_the_records(three_seeds):
    folder, page, markdown, _ = three_seeds
    assert page.source.count("<svg") == 4
    for name in ("loss", "accuracy", "learning_rate", "gradient_norm"):
        text = (folder / "report" / "pictures" / f"{name}.svg").read_text()
        assert text.startswith("<?xml")
        assert "prefers-color-scheme: dark" in text
        assert "#010101" not in text
        assert "DejaVu" not in text
        assert "purl.org" not in text
        assert f"pictures/{name}.svg" in markdown


def test_drawing_twice_gives_the_same_bytes(tmp_path):
    runs = [read_run(fabricate.write_run(tmp_path / "run", fabricate.records()))]
    assert standalone(loss_curve(runs)) == standalone(loss_curve(runs))


def test_without_imagenet_no_cell_of_ours_holds_a_number(three_seeds):
    _, page, markdown, data = three_seeds
    assert "Not measured here: needs ImageNet (50,000 validation images)." in page.text
    assert "Not measured here: needs ImageNet (50,000 validation images)." in markdown
    ours = page.cells("ours")
    assert len(ours) == len(data["at_a_glance"]["rows"]) + len(data["expected"])
    assert set(ours) == {"not measured"}
    assert data["published_vs_ours"] == []
    assert not any(row["ours"] for row in data["at_a_glance"]["rows"])
    glance = [line for line in markdown.splitlines() if line.startswith("| `vit_") and line.count("|") == 10]
    assert len(glance) == len(data["at_a_glance"]["rows"]) == 21
    assert all(line.endswith("| not measured |") for line in glance)


def test_published_numbers_are_shown_with_the_digits_of_their_source(three_seeds):
    _, page, markdown, _ = three_seeds
    glance = next(table for table in page.tables if table[0][-1].text == "Ours")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in glance}
    assert rows["vit_base_patch16_384"] == ["77.91", "83.97", "84.15", "85.49", "86.010", "84.212", "–", "not measured"]
    assert rows["vit_large_patch16_384"][:4] == ["76.53", "85.15", "87.12", "85.59"]
    for words in ("75.196", "74.79", "PASSL", "Table 5, Appendix C", "results/results-imagenet.csv"):
        assert words in page.text
        assert words in markdown


IMAGENET = {
    **fabricate.CONFIG,
    "Arch": {"name": "ppvit.vit_base_patch16_384", "num_classes": 1000},
    "DataLoader": {"Eval": {"dataset": {"name": "ppcore.data.ImageFolder", "root": "somewhere"}, "transforms": {}}},
}


def test_a_run_on_the_whole_test_set_stands_beside_its_own_model_only(tmp_path, paper):
    run = fabricate.write_run(tmp_path / "full", fabricate.records(n=50_000, top1=0.1234), config=IMAGENET)
    page, markdown, data = report(tmp_path, [run], paper)
    assert {(row["builder"], row["metric"]["key"]) for row in data["published_vs_ours"]} == {
        ("vit_base_patch16_384", "top1")
    }
    assert {round(row["ours"], 2) for row in data["published_vs_ours"]} == {13.34}
    first = next(row for row in data["published_vs_ours"] if row["group"] == "ImageNet-1k")
    assert first["difference"] == pytest.approx(13.34 - 77.91)
    measured = {row["builder"]: row["ours"] for row in data["at_a_glance"]["rows"] if row["ours"]}
    assert list(measured) == ["vit_base_patch16_384"]
    assert "Not measured here" not in page.text
    assert set(page.cells("ours")) == {"13.34", "not measured"}
    assert "−64.57" in page.text
    assert "−64.57" in markdown


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1000},  # a sample of ImageNet
        {"classes": 100},
        {"loader": "ppcore.data.Digits"},
        {"skipped": 3},  # not the whole test set
        {"arch": "ppvit.VisionTransformer"},
    ],
)
def test_another_measurement_is_not_set_beside(tmp_path, paper, change):
    config = json.loads(json.dumps(IMAGENET))
    config["Arch"]["num_classes"] = change.get("classes", 1000)
    config["Arch"]["name"] = change.get("arch", config["Arch"]["name"])
    config["DataLoader"]["Eval"]["dataset"]["name"] = change.get("loader", "ppcore.data.ImageFolder")
    lines = fabricate.records(n=change.get("n", 50_000), top1=0.8)
    lines = [{**line, "skipped": change.get("skipped", 0)} if line["kind"] == "eval" else line for line in lines]
    run = read_run(fabricate.write_run(tmp_path / "run", lines, config=config))
    data = content.build(ReportContent("x", paper, [run]))
    assert data["published_vs_ours"] == []
    assert not any(row["ours"] for row in data["at_a_glance"]["rows"])


def test_a_quick_run_is_named_beside_its_expectation(tmp_path, paper):
    env = fabricate.trained_with("configs/quick/vit_digits.yaml")
    run = read_run(fabricate.write_run(tmp_path / "run", fabricate.records(), env=env))
    data = content.build(ReportContent("x", paper, [run]))
    reached = {item["config"]: [ours["run"] for ours in item["ours"]] for item in data["expected"]}
    assert reached == {"configs/quick/vit_digits.yaml": ["run"], "configs/quick/vit_cifar10.yaml": []}


def test_runs_that_are_not_alike_get_no_common_number(tmp_path, paper):
    """The same experiment, one seed stopped half way: a mean of the two would mean nothing."""
    whole = fabricate.write_run(tmp_path / "whole", fabricate.records())
    half = fabricate.write_run(tmp_path / "half", fabricate.records(stop=200), config=fabricate.with_global(seed=1))
    page, _, data = report(tmp_path, [whole, half], paper)
    assert len(data["experiments"]) == 1
    assert data["experiments"][0]["value"] is None
    assert "unfinished: step 200 of 400" in page.text


def test_different_experiments_are_kept_apart(tmp_path, paper):
    other = {**fabricate.CONFIG, "EMA": {"decay": 0.5}}
    folders = [
        fabricate.write_run(tmp_path / name, fabricate.records(), config=config)
        for name, config in (("a", None), ("b", other))
    ]
    data = content.build(ReportContent("x", paper, [read_run(folder) for folder in folders]))
    assert [item["runs"] for item in data["experiments"]] == [["a"], ["b"]]
    assert all(item["interval"] for item in data["experiments"])


def test_a_run_without_evaluation_and_with_a_diverged_loss(tmp_path, paper):
    lines = [line for line in fabricate.records(stop=100) if line["kind"] != "eval"]
    lines[-1] = {**lines[-1], "loss": float("nan"), "grad_norm": float("inf")}
    run = fabricate.write_run(tmp_path / "run", lines)
    page, _, data = report(tmp_path, [run], None)
    assert "not evaluated yet" in page.text
    assert data["experiments"][0]["value"] is None
    assert data["paper"] is None


def test_no_runs_no_checks_no_paper(tmp_path):
    page, markdown, data = report(tmp_path, [], None, fidelity=[])
    assert "no accuracy of ours" in page.text
    assert "No fidelity checks were run" in page.text
    assert "no accuracy of ours" in markdown
    assert data["runs"] == []


HOSTILE = "<img src=x onerror=alert(1)> | `a` [b](http://c) $\\frac$"


def test_names_cannot_inject_markup(tmp_path, paper):
    env = {"command": f"train {HOSTILE} ``` </pre>", "cpu": HOSTILE}
    run = fabricate.write_run(tmp_path / "<b>&$x$", fabricate.records(), env=env)
    twin = fabricate.write_run(tmp_path / "twin", fabricate.records(), env=env)
    item = replace(fabricate.classified(1)[0], label=HOSTILE, topk=[(HOSTILE, 0.5)])
    row = fabricate.FIDELITY[0].model_copy(update={"what": HOSTILE, "note": HOSTILE})
    page, markdown, _ = report(tmp_path, [run, twin], paper, title=HOSTILE, classified=[item], fidelity=[row])
    assert not [value for _, name, value in page.attributes if name == "onerror"]
    assert all(value.startswith("data:") for value in page.values("src"))
    assert page.text.count("<img src=x onerror=alert(1)>") >= 5  # as text
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", re.sub(r"\\.", "", markdown), flags=re.DOTALL)
    assert re.search(r"<(?!https://arxiv)", outside) is None
    assert "](http:" not in outside
    tables = [line for line in markdown.splitlines() if line.startswith("| 1 Structure")]
    assert len(re.findall(r"(?<!\\)\|", tables[0])) == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": 0}, "row 1: level"),
        ({"passed": "yes"}, "row 1: passed"),
        ({"note": "", "passed": None}, "needs a note that says why"),
        ({"measured": None}, "needs its measured value"),
        ({"tolerence": 1}, "row 1: tolerence"),
    ],
)
def test_a_wrong_fidelity_row_is_one_line(tmp_path, change, words):
    rows = [fabricate.FIDELITY[0].model_dump() | change]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with pytest.raises(ConfigError) as error:
        load_rows(tmp_path / "rows.json")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PPError, match="cannot be written"):
        write_report(tmp_path / "file", ReportContent("x"))


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_images_must_be_rgb_bytes(tmp_path, image):
    item = replace(fabricate.classified(1)[0], image=image)
    with pytest.raises(ValueError, match="uint8"):
        write_report(tmp_path, ReportContent("x", classified=[item]))


CIFAR = {"name": "ppcore.data.PaddleVision", "dataset": "Cifar10", "split": "test"}


@pytest.mark.parametrize(
    ("dataset", "key"),
    [
        (CIFAR, "cifar10"),
        (CIFAR | {"data_file": "a.tar.gz"}, "cifar10"),
        (CIFAR | {"split": "train"}, None),
        (CIFAR | {"dataset": "Cifar100"}, None),
        ({"name": "ppcore.data.Cifar10Jpeg", "split": "test"}, None),
    ],
)
def test_a_data_set_is_known_by_its_loader_and_split(tmp_path, paper, dataset, key):
    config = fabricate.CONFIG | {"DataLoader": {"Eval": {"dataset": dataset}}}
    run = read_run(fabricate.write_run(tmp_path / "run", fabricate.records(n=10_000), config=config))
    assert published_vs_ours.measured_on(run, paper) == key


def test_core_days_are_not_written_like_percentages(three_seeds):
    _, page, markdown, _ = three_seeds
    row = next(row for table in page.tables for row in table if row[0].text.startswith("TPUv3"))
    assert [cell.text for cell in row[1:]] == ["2,500", "680", "230"]
    assert "| TPUv3-core-days of pre-training | 2,500 | 680 | 230 |" in markdown


def test_grey_images_are_shown_grey(tmp_path):
    item = replace(fabricate.classified(1)[0], image=np.full((28, 28, 1), 77, np.uint8), attention=None)
    page, _, _ = report(tmp_path, [], None, classified=[item])
    data = base64.b64decode(_images(page.source)[0][0][1].removeprefix("data:image/png;base64,"))
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (224, 224, 3)
    assert (shown == 77).all()


def test_labels_are_named_by_the_runs_classes_and_images_may_be_large(tmp_path):
    lines = fabricate.records()
    lines[0]["classes"] = [f"class {number}" for number in range(10)]
    run = fabricate.write_run(tmp_path / "run", lines)
    item = ClassifiedImage(np.zeros((900, 1200, 3), np.uint8), label=4, pred=4, prob=0.5)
    page, _, data = report(tmp_path, [run], None, classified=[item])
    assert data["predictions"][0]["label"] == "class 4"
    assert "class 4" in page.text
    assert len(_images(page.source)) == 1


def test_wilson_interval_against_known_values():
    """10 of 20: 29.93 to 70.07 (Wilson 1927); none of 10: 0 to 27.75."""
    assert wilson(0.5, 20) == pytest.approx((29.93, 70.07), abs=0.01)
    assert wilson(0.0, 10) == pytest.approx((0.0, 27.75), abs=0.01)


def test_many_runs_are_one_line_a_config_and_folded_away(tmp_path):
    runs = fabricate.comparing_runs(tmp_path)
    page, markdown, _ = report(tmp_path, runs, None)
    experiments = next(table for table in page.tables if table[0][0].text == "Experiment")
    assert [row[0].text for row in experiments[1:]] == [f"made_{data}_{name}" for data, name in fabricate.REACHED]
    assert experiments[2][3].text == "94.50 ± 0.50"
    assert page.source.count("<svg") == 4  # accuracy and loss on two data sets
    drawn = (tmp_path / "report" / "pictures" / "accuracy_digits_test.svg").read_text()
    for name in ("teacher", "two_class"):
        assert f">{name}</text>" in drawn
    assert "made_" not in drawn
    assert "Every run (28)" in page.text
    assert "made_digits_soft" in markdown
    assert "pictures/accuracy_cifar10_test.svg" in markdown


def test_what_the_pictures_are_of_is_said_even_without_any(tmp_path):
    note = "No images were classified: no training was run."
    for images in ([], fabricate.classified(1)):
        page, markdown, data = report(tmp_path, [], None, classified=images, classified_note=note)
        assert note in page.text
        assert note in markdown
        assert data["predictions_note"] == note


def test_attention_is_not_promised_where_there_is_none(tmp_path):
    items = [replace(item, attention=None) for item in fabricate.classified(2)]
    page, markdown, _ = report(tmp_path, [], None, classified=items)
    assert len(_images(page.source)) == 2
    for text in (page.text, markdown):
        assert "ollout" not in text


class TestRunsOfSeveralKinds:
    """Encoders judged by a probe, and classifiers that start from them."""

    def written(self, folder, start: str, seeds=(0, 1)):
        runs = []
        for seed in seeds:
            lines = fabricate.records(seed=seed)
            probe = lines[0]["metrics"][0] | {"key": "linear", "name": "Linear"}
            lines[0]["metrics"] = [probe]
            for line in lines:
                if line["kind"] == "eval":
                    line["linear"] = 0.5
            runs.append(
                fabricate.write_run(folder / f"probe_seed{seed}", lines, config=fabricate.with_global(seed=seed))
            )
        for seed in seeds:
            given = fabricate.with_global(seed=seed, pretrained={"path": start.format(seed=seed)})
            given["Task"] = {"labelled": [{"seed": seed}]}  # which labels are known goes with the seed
            lines = fabricate.records(seed=seed)
            runs.append(fabricate.write_run(folder / f"tuned_seed{seed}", lines, config=given))
        return runs

    def test_each_number_stands_beside_its_metric(self, tmp_path, paper):
        runs = self.written(tmp_path, "out/probe_seed{seed}/checkpoints/latest", range(4))
        page, _, data = report(tmp_path, runs, paper)
        assert [item["metric"]["key"] for item in data["experiments"]] == ["linear", "top1"]
        words = page.text.split("Every run")[0]
        assert words.index("Score") < words.index("Linear %") < words.index("Top-1 %")

    def test_starts_of_the_same_seed_are_repetitions_and_others_are_not(self, tmp_path, paper):
        runs = self.written(tmp_path / "own", "out/probe_seed{seed}/checkpoints/latest")
        _, _, data = report(tmp_path / "own", runs, paper)
        assert [item["seeds"] for item in data["experiments"]] == [[0, 1], [0, 1]]
        runs = self.written(tmp_path / "other", "out/teacher{seed}/checkpoints/latest")
        _, _, data = report(tmp_path / "other", runs, paper)
        assert [item["seeds"] for item in data["experiments"]] == [[0, 1], [0], [1]]
