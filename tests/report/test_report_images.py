"""Reports of networks that give images: decibels instead of percent, other methods, photographs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import fabricate
import numpy as np
import pytest
from page import Page

from ppcore.errors import ConfigError, PPError
from ppcore.metrics import ImageQuality
from ppcore.report import ReportContent, content, load_paper, read_run, write_report
from ppcore.report.content_types import BaselineResult, Baselines, FigureGrid, ImageGrid, Panel, PanelRow
from ppcore.report.training_curves import Level, training_curves

UHDFOUR = Path(__file__).parents[2] / "papers" / "uhdfour.yaml"
QUICK = "configs/quick/uhdfour_photographs.yaml"
METRIC = "8-bit, RGB PSNR (made up)"


def records(seed: int = 0, psnr: float = 20.0, n: int = 6) -> list[dict]:
    """A made-up history of a restoration run: no loss in its evaluations, PSNR and SSIM."""
    lines = []
    for line in fabricate.records(seed=seed, n=n):
        if line["kind"] == "eval":
            value = psnr - 5 * (1 - line["step"] / 400)
            kept = {key: line[key] for key in ("kind", "step", "epoch", "time", "weights", "n", "skipped", "seconds")}
            line = {**kept, "psnr": value, "ssim": 0.5 + value / 100}
        elif line["kind"] == "start":
            metrics = [asdict(spec) for spec in ImageQuality(protocol="paper").specs]
            line = {**line, "classes": None, "metric": METRIC, "metrics": metrics}
        elif line["kind"] == "end":
            line = {**line, "best": {"step": 400, "psnr": psnr, "weights": "model"}}
        if line.get("weights") != "ema":
            lines.append(line)
    return lines


def run(folder: Path, seed: int, psnr: float, **changes) -> Path:
    config = {
        "Global": {"seed": seed, "output_dir": "x"},
        "Arch": {"name": "ppuhdfour.UHDFour"},
        "Metric": {"name": "ppcore.metrics.ImageQuality", "protocol": "paper"},
        "DataLoader": {"Eval": {"dataset": {"name": "ppcore.data.DarkenedPhotographs", "split": "test"}}},
    } | changes.pop("config", {})
    env = fabricate.trained_with(QUICK, f"Global.seed={seed}")
    return fabricate.write_run(folder / f"seed{seed}", records(seed, psnr, **changes), config=config, env=env)


def result(method: str, psnr: float, ssim: float) -> BaselineResult:
    return BaselineResult(method, {"psnr": psnr, "ssim": ssim}, n=6, seconds=3.0)


BASELINES = Baselines(
    QUICK, "seed0", f"made-up images; {METRIC}", ImageQuality(protocol="paper").specs,
    [result("Identity", 8.0, 0.3), result("LIME(gamma=0.8)", 17.5, 0.6), result("Gamma(gamma=2.2)", 15.0, 0.7)],
)  # fmt: skip


def picture(value: int) -> np.ndarray:
    return np.full((20, 30, 3), value, np.uint8)


PANELS = [
    Panel(f"{name}: 12.34 dB", picture(40 * i)) for i, name in enumerate(("input", "LIME", "UHDFour", "reference"))
]
ENHANCED = ImageGrid("seed0", "DarkenedPhotographs(split=test)", [PanelRow("cat", PANELS)])
FIGURE = FigureGrid("swap", QUICK, "seed0", [PanelRow("", [Panel("low", picture(9))])], "Made-up medians.")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restored")
    runs = [read_run(run(folder, seed, psnr)) for seed, psnr in enumerate((20.0, 21.0, 22.0))]
    index = write_report(
        folder / "report",
        ReportContent(
            "Made up", load_paper(UHDFOUR), runs, baselines=[BASELINES], image_grids=[ENHANCED], figures=[FIGURE]
        ),
    )
    return folder / "report", Page(index.read_text()), (folder / "report" / "report.md").read_text()


def test_the_result_is_in_decibels(written):
    folder, page, markdown = written
    data = json.loads((folder / "report.json").read_text())
    [experiment] = data["experiments"]
    assert (experiment["metric"]["key"], experiment["value"], experiment["spread"]) == ("psnr", 21.0, 1.0)
    assert experiment["also"][0]["value"] == pytest.approx(0.71)
    assert experiment["interval"] is None
    for text in (page.text, markdown):
        assert "21.00 ± 1.00" in text
        assert f"{METRIC}, mean over 6 images" in text.replace("\\", "")
        assert "Top-1" not in text
        assert "top-1" not in text
    assert "PSNR dB" in markdown


def test_ours_stand_beside_the_others_best_first(written):
    _, page, markdown = written
    [table] = [table for table in page.tables if table[0][0].text == "Method"]
    assert [line[0].text for line in table[1:]] == [
        "UHDFour (ours, trained here)", "LIME(gamma=0.8)", "Gamma(gamma=2.2)", "Identity"
    ]  # fmt: skip
    assert [cell.text for cell in table[1][1:]] == ["21.00 ± 1.00", "0.7100 ± 0.0100", "0.08"]
    assert [cell.text for cell in table[2][1:3]] == ["17.50", "0.6000"]
    for text in (page.text, markdown):
        assert "+3.50 dB" in text
        assert "0: 20.00, 1: 21.00, 2: 22.00" in text
    [quick] = [item for item in load_paper(UHDFOUR).quick if item.config == QUICK]
    assert quick.note in page.text, "what a reader must know of the data"


def test_a_network_that_is_behind_is_said_to_be(tmp_path):
    baselines = replace(BASELINES, results=[result("LIME", 30.0, 0.9)])
    runs = [read_run(run(tmp_path, 0, 20.0))]
    index = write_report(tmp_path / "report", ReportContent("x", load_paper(UHDFOUR), runs, baselines=[baselines]))
    page = Page(index.read_text())
    assert "✗ behind" in page.text
    assert "In SSIM it is behind" in page.text  # said of every metric, not of the primary one alone
    assert "−10.00 dB" in page.text


def test_photographs_are_the_ones_given(written):
    folder, page, markdown = written
    assert page.source.count("data:image/jpeg;base64,") == 5
    assert "input: 12.34 dB" in page.text
    for name in ("enhanced_seed0", "swap_seed0"):
        sheet = cv2.imread(str(folder / "pictures" / f"{name}.jpg"))
        assert sheet.shape[0] > 20
        assert f"pictures/{name}.jpg" in markdown
    enhanced = cv2.imread(str(folder / "pictures" / "enhanced_seed0.jpg"))
    assert [round(float(enhanced[18, 8 + 38 * i + 15].mean())) for i in range(4)] == pytest.approx(
        [0, 40, 80, 120], abs=2
    )
    data = json.loads((folder / "report.json").read_text())
    assert data["image_grids"][0]["rows"][0]["captions"][0] == "input: 12.34 dB"
    assert data["figures"][0]["text"] == "Made-up medians."


def test_a_panels_image_must_be_rgb_bytes(tmp_path):
    figure = replace(FIGURE, rows=[PanelRow("", [Panel("x", np.zeros((4, 4, 3)))])])
    with pytest.raises(ValueError, match="uint8"):
        write_report(tmp_path, ReportContent("x", load_paper(UHDFOUR), figures=[figure]))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_score_is_drawn_beside_what_was_published(tmp_path, count):
    """On the drawing of the score alone, as high as its number says, once for all seeds."""
    runs = [
        read_run(fabricate.write_run(tmp_path / f"name_seed{seed}", fabricate.records(seed=seed)))
        for seed in range(count)
    ]
    beside = {run.name: Level("published: ViT, 99.9", 99.9) for run in runs}
    without, drawn = training_curves(runs), training_curves(runs, beside)
    changed = [one["title"] for one, other in zip(drawn, without, strict=True) if one["svg"] != other["svg"]]
    assert len(changed) == 1
    assert "top-1" in changed[0].lower()
    svg = next(one["svg"] for one in drawn if one["title"] == changed[0])
    assert svg.count("published: ViT, 99.9") == 1


def test_curves_are_of_the_primary_metric(tmp_path):
    drawn = {item["name"]: item["title"] for item in training_curves([read_run(run(tmp_path, 0, 20.0))])}
    assert list(drawn) == ["loss", "psnr", "learning_rate", "gradient_norm"]
    assert "dotted" not in drawn["loss"], "no loss was evaluated"
    assert drawn["psnr"].startswith("PSNR by epoch")


ON_UHD_LL = {"Arch": {"name": "ppuhdfour.uhdfour"},
             "DataLoader": {"Eval": {"dataset": {"name": "ppcore.data.PairedFolder", "root": "data/uhd_ll/test"}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "n", "compared"), [("paper", 150, True), ("official_code", 150, False), ("paper", 115, False)]
)
def test_published_figures_stand_beside_the_same_measurement_only(tmp_path, protocol, n, compared):
    metric = {"Metric": {"name": "ppcore.metrics.ImageQuality", "protocol": protocol}}
    ours = read_run(run(tmp_path, 0, 25.0, n=n, config=ON_UHD_LL | metric))
    data = content.build(ReportContent("x", load_paper(UHDFOUR), [ours]))
    assert bool(data["published_vs_ours"]) is compared
    assert data["at_a_glance"]["measured"] is compared
    if compared:
        first = next(
            row for row in data["published_vs_ours"] if (row["table"], row["metric"].key) == ("table3", "psnr")
        )
        assert (first["ours"], first["published"]) == (25.0, 26.226)
        assert {row["metric"].key for row in data["published_vs_ours"]} == {"psnr", "ssim"}


def test_a_record_without_a_known_metric_is_one_line(tmp_path):
    lines = [{key: value for key, value in line.items() if key not in ("psnr", "ssim")} for line in records()]
    with pytest.raises(PPError, match="the evaluation of step 40 has no 'psnr'"):
        read_run(fabricate.write_run(tmp_path / "run", lines))


def test_a_drawn_figure_names_a_quick_configuration(tmp_path):
    text = UHDFOUR.read_text().replace(
        "quick: [configs/quick/uhdfour_photographs.yaml", "quick: [configs/quick/none.yaml", 1
    )
    (tmp_path / "paper.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"figure .swap.: .configs/quick/none\.yaml. is not a quick config"):
        load_paper(tmp_path / "paper.yaml")
