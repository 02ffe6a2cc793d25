"""Others' networks under every protocol: the table, the drawings, what is equal to the last digit, and what is missing."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from page import Page

from ppcore.errors import ConfigError
from ppcore.metrics import ImageQuality
from ppcore.report import ReportContent, load_paper, write_report
from ppcore.report.content_types import EvaluatedMethod, EvaluatedNetworks, Panel, PanelRow, ProtocolColumns
from ppcore.report.protocol_tables import equal, kind, protocol_tables

PAPERS = Path(__file__).resolve().parents[2] / "papers"
PROTOCOLS = (
    dict(protocol="truncated", key="truncated"),
    dict(protocol="rounded", key="rounded"),
    dict(protocol="rounded", gt_mean=True, gt_mean_of="file", key="rounded"),
)
METHODS = {  # made up, but for the rounding: psnr and ssim of each protocol
    "Identity": (7.77, 0.19, 7.78, 0.2, 18.8, 0.49),
    "PairLIE, gamma 0.14": (19.5139, 0.73586, 19.52, 0.7357, 23.16, 0.75),
    "PairLIE, gamma 0.2": (18.47, 0.7473, 18.4949, 0.7486, 23.51, 0.755),
}
CONFIG = "configs/pairlie/lol_eval15.yaml"


def evaluated(**changes) -> EvaluatedNetworks:
    metrics = [ImageQuality(**arguments) for arguments in PROTOCOLS]
    columns = [ProtocolColumns(m.specs[0].name.partition(" ")[2], m.describe(), m.specs) for m in metrics]
    keys = [spec.key for metric in metrics for spec in metric.specs]
    methods = [
        EvaluatedMethod(name, dict(zip(keys, numbers, strict=True)), 15, 30.0, "OpenVINO, fp32", name != "Identity")
        for name, numbers in METHODS.items()
    ]
    methods.append(EvaluatedMethod("UHDFour", {}, left_out="there is no weights/uhdfour.pth"))
    image = np.zeros((8, 12, 3), np.uint8)
    pictures = [PanelRow("1", [Panel(f"{name}: 1.00 dB", image) for name in METHODS])]
    content = dict(data="made-up pairs", protocols=columns, methods=methods, pictures=pictures)
    return EvaluatedNetworks(CONFIG, "PairLIE on made-up pairs", **{**content, **changes})


@pytest.fixture(scope="module")
def paper():
    return load_paper(PAPERS / "pairlie.yaml")


def test_a_published_number_beside_the_protocol_that_gives_it(paper):
    [table] = protocol_tables(paper, [evaluated()])
    first, second, third, fourth = table["reached"]
    assert (first["published"], first["ours"], first["equal"]) == (19.51, 19.5139, True)
    assert first["protocol"].startswith("outputs saved as 8-bit files, truncated")
    assert first["by"].startswith("protocol truncated: images clamped and truncated")
    assert (second["kind"], second["equal"]) == ("SSIM", True)
    assert (third["digits"], third["published"], third["equal"]) == (2, 18.5, False)  # 18.4949 is 18.49
    assert (fourth["published"], fourth["equal"]) == (0.748, False)  # 0.7486 is 0.749
    assert [row["method"] for row in table["rows"]] == list(METHODS)
    assert table["left_out"] == [{"method": "UHDFour", "why": "there is no weights/uhdfour.pth"}]
    assert table["rows"][1]["seconds"] == 2.0


def test_a_number_nothing_gives_names_the_nearest(paper):
    [table] = protocol_tables(paper, [evaluated()])
    nearest = {one["published"]: (one["nearest"]["value"], one["same"]) for one in table["unexplained"]}
    assert nearest[18.58] == (18.4949, [])
    assert nearest[0.776] == (0.755, [])
    assert nearest[0.77] == (0.755, [])


def test_to_the_last_digit():
    assert equal(17.85832, 17.8583, 4)
    assert not equal(17.85836, 17.8583, 4)
    assert equal(18.4951, 18.5, 2)
    assert not equal(18.4949, 18.5, 2)
    assert kind(ImageQuality(gt_mean=True).specs[1]) == "SSIM"


def test_the_page(paper, tmp_path):
    source = write_report(tmp_path, ReportContent("Made up", paper, evaluated=[evaluated()])).read_text()
    page = Page(source)
    assert "to the last digit" in page.text.lower()
    assert "✓ equal" in page.text and "✗ differs" in page.text  # noqa: PT018
    assert page.text.count("GT-mean") >= 5  # the warning, the head of its columns, the note, both drawings
    [table] = [table for table in page.tables if table[0][0].classes == ["stick"]][:1]
    assert [cell.text for cell in table[1]] == ["Method", *(["PSNRdB", "SSIM"] * 3), "s/image"]
    assert [cell.text for cell in table[3]][1:] == ["19.51", "0.7359", "19.52", "0.7357", "23.16", "0.7500", "2.00"]
    assert "UHDFour: there is no weights/uhdfour.pth" in page.text
    assert (tmp_path / "pictures" / "methods_1.jpg").is_file()
    drawn = (tmp_path / "pictures" / "protocols_1_psnr.svg").read_text()
    assert "rounded GT-mean" in drawn and "published, given by none" in drawn  # noqa: PT018
    said = json.loads((tmp_path / "report.json").read_text())["protocol_tables"][0]
    assert said["reached"][0]["equal"] is True
    markdown = (tmp_path / "report.md").read_text()
    assert "| PairLIE, gamma 0.14 | PSNR truncated |" in markdown
    assert "pictures/protocols_1_ssim.svg" in markdown


def test_without_data_nothing_is_shown_as_ours(paper, tmp_path):
    nothing = dict(data="", protocols=(), methods=(), pictures=(), missing="PP_DATA_DIR has no lol_eval15")
    content = ReportContent("Made up", paper, evaluated=[evaluated(**nothing)])
    page = Page(write_report(tmp_path, content).read_text())
    assert "PP_DATA_DIR has no lol_eval15" in page.text
    rows = [row for table in page.tables for row in table if row[0].text.startswith("PairLIE, gamma")]
    assert len(rows) == 4
    for row in rows:
        assert [cell.text for cell in row][4:] == ["not measured", "–", "– not run here"]
    [table] = protocol_tables(paper, content.evaluated)
    assert {one["equal"] for one in table["reached"]} == {None}
    assert all(one["nearest"] is None for one in table["unexplained"])


@pytest.mark.parametrize(
    ("place", "name"), [("row", "nobody"), ("column", "MOS"), ("table", "table9")], ids=lambda v: v
)
def test_a_figure_that_stands_nowhere_is_refused(tmp_path, place, name):
    page = yaml.safe_load((PAPERS / "pairlie.yaml").read_text())
    page["evaluations"][0]["figures"][0][place] = name
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(page))
    with pytest.raises(ConfigError, match=f"evaluations: {CONFIG}: .*'{name}'.*: no such number"):
        load_paper(tmp_path / "paper.yaml")
