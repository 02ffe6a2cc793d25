"""docs/low_light.md says what the code does."""

import re

import pytest
import yaml
from conftest import ROOT

from ppcore import config
from ppcore.metrics.protocols import PROTOCOLS

PAGE = (ROOT / "docs" / "low_light.md").read_text(encoding="utf-8")
WORDS = {
    "rounded": "8 bits, rounded", "truncated": "8 bits, truncated", "float": "float, clamped", "unclamped": "float, unclamped",
    "rgb": "RGB", "luma": "luma", "luma8": "8-bit gray", "studio": "Y of 16 to 235",
    "gaussian": "Gaussian 11×11", "uniform": "uniform 7×7",
}  # fmt: skip


def test_the_table_of_protocols():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|[^|]*\|$", PAGE, flags=re.M))
    said = {
        name: " | ".join(WORDS[v] for v in (p.pixels, p.psnr_on, p.ssim_on, p.window)) for name, p in PROTOCOLS.items()
    }
    assert rows == said


def test_its_commands_name_configurations_that_load():
    named = set(re.findall(r"configs/\w+/\w+\.yaml", PAGE))
    assert len(named) == 5
    for name in named:
        config.load(ROOT / name)
    for paper in re.findall(r"make reproduce PAPER=(\w+)", PAGE):
        assert (ROOT / "papers" / f"{paper}.yaml").is_file()


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.M | re.S))
def test_its_pieces_fit_a_configuration(text):
    options = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True, width=1000).strip()}"
        for key, value in yaml.safe_load(text).items()
    ]
    loaded = config.load(ROOT / "configs/llie/lol_eval15.yaml", options)
    assert loaded.Networks
    assert loaded.metrics()[0]["key"] == "truncated"
