"""docs/deploy.md, followed word for word."""

import csv
import json
import os
import re
import subprocess
import sys

import cv2
import pytest
import skimage.data
from conftest import ROOT

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


def run(folder, command: list[str]) -> subprocess.CompletedProcess:
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def test_word_for_word(folder):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) == 4
    said = []
    for line in lines:
        short = " -o 'Global.duration={steps: 20}'" if "tools/train.py" in line else ""
        said.append(run(folder, ["bash", "-c", line + short]))
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
    assert f"'class': {written[1]['topk'][0]['class']}, " in run(folder, [sys.executable, "-c", code]).stdout
