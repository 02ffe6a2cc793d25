"""docs/deploy.md, followed word for word."""

import csv
import json
import re

import cv2
import pytest
import skimage.data
from conftest import ROOT, run_lines, run_python

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a checkout has, and a folder of photographs."""
    found = tmp_path_factory.mktemp("deploy")
    for name in ("tools", "configs"):
        (found / name).symlink_to(ROOT / name)
    (found / "photos").mkdir()
    for name in ("coffee", "astronaut"):
        cv2.imwrite(str(found / "photos" / f"{name}.png"), getattr(skimage.data, name)()[:, :, ::-1])
    return found


def test_word_for_word(folder):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) == 4
    run_lines(
        [line + (" -o 'Global.duration={steps: 20}'" if "tools/train.py" in line else "") for line in lines], folder
    )
    written = json.loads((folder / "infer" / "predictions.json").read_text())["images"]
    assert [record["file"] for record in written] == ["photos/astronaut.png", "photos/coffee.png"]
    with (folder / "answers" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row[f"class_{place}"] for place in (1, 2, 3)] for row in rows] == [
        [str(one["class"]) for one in record["topk"][:3]] for record in written
    ]
    manifest = json.loads((folder / "digits" / "manifest.json").read_text())
    assert manifest["model"]["weights"]["run"]
    [code] = blocks("python")
    assert f"'class': {written[1]['topk'][0]['class']}, " in run_python(code, folder)
