"""docs/super_resolution.md says what the code does."""

import re

import pytest
import yaml
from conftest import ROOT

from ppcore import config
from ppcore.report import load_paper
from ppsr.sr_protocols import PROTOCOLS

PAGE = (ROOT / "docs" / "super_resolution.md").read_text(encoding="utf-8")
PAPERS = [load_paper(ROOT / "papers" / f"{name}.yaml") for name in ("srcnn", "fsrcnn", "vdsr", "srgan")]


def test_its_table_of_weights_has_published_numbers_that_ours_round_to():
    known = {f"{figure.value:.2f}" for paper in PAPERS for figure in paper.figures()}
    rows = re.findall(r"^\| [^|]+ \| (\S+) \| ([\d./ ]+) \| ([\d./ ]+) \|$", PAGE, flags=re.M)
    assert len(rows) == 7
    for protocol, published, ours in rows:
        named = published.split(" / ")
        assert set(named) <= known
        if protocol == "another":
            continue
        assert protocol.strip("`") in PROTOCOLS
        assert [f"{float(number) - 1e-9:.2f}" for number in ours.split(" / ")] == named


def test_its_commands_name_what_is_there():
    for name in re.findall(r"-c (configs/\S+\.yaml)", PAGE):
        config.load(ROOT / name)
    for folder in re.findall(r"`(configs/\w+/)`", PAGE):
        assert list((ROOT / folder).glob("set5.yaml"))
    assert re.findall(r"make reproduce PAPER=(\w+)", PAGE) == ["srcnn"]


@pytest.mark.parametrize(
    "text", [t for t in re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.M | re.S) if "Networks" in t]
)
def test_its_row_fits_a_configuration(text, tmp_path):
    tree = {"_base_": str(ROOT / "configs/sr/set5.yaml"), **yaml.safe_load(text)}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tree))
    loaded = config.load(tmp_path / "mine.yaml")
    assert len(loaded.Networks) == len(config.load(ROOT / "configs/sr/set5.yaml").Networks) + 1
    own = config.for_network(loaded, len(loaded.Networks) - 1)
    assert own.DataLoader.Eval.dataset["protocol"] == "lr_u8"
