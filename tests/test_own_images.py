"""docs/own_images.md, followed word for word."""

import json
import re

import pytest
from conftest import ROOT, run_lines, run_python

import ppdeit
from ppcore import weights

CLASSES = ["cat", "coffee", "flower", "motorcycle"]


def blocks(root, language: str) -> list[str]:
    text = (root / "docs" / "own_images.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what a checkout has, and the weights the page asks for (random ones of the same layout)."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("tools", "configs", "docs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "weights").mkdir()
    start = ppdeit.deit_tiny_patch16_224()
    weights.save(start, folder / "weights" / "deit_tiny_patch16_224.safetensors", layout="timm")
    return folder


def test_word_for_word(root, folder):
    lines = [line for block in blocks(root, "bash") for line in block.splitlines()]
    assert len(lines) == 8
    said = dict(zip([" ".join(line.split()[1:3]) for line in lines], run_lines(lines, folder), strict=True))

    records = [json.loads(line) for line in (folder / "output/own_images/metrics.jsonl").read_text().splitlines()]
    assert records[0]["classes"] == CLASSES
    best = records[-1]["best"]
    evaluated = json.loads(said["tools/eval.py -c"])
    assert evaluated["top1"] == best["top1"]
    assert evaluated["n"] == 4 * 4
    told = json.loads((folder / "output/own_images/infer/predictions.json").read_text())["images"]
    assert len(told) == 4
    assert all(choice["name"] in CLASSES for record in told for choice in record["topk"])
    assert (folder / "own_images.safetensors").is_file()

    [code] = blocks(root, "python")
    answer = run_python(code, folder).split()[-1]
    assert answer == told[0]["topk"][0]["name"]
    alone = [line.split(": ") for line in said["tools/infer.py --export"].splitlines()]
    assert [file for file, _ in alone] == [record["file"] for record in told]
    assert [said_of.split()[0] for _, said_of in alone] == [record["topk"][0]["name"] for record in told]


def test_the_template_says_what_to_change(root):
    text = (root / "configs" / "templates" / "own_images.yaml").read_text(encoding="utf-8")
    assert sum("<-" in line and not line.startswith("# Copy this") for line in text.splitlines()) == 4
