"""docs/weights.md, followed word for word."""

import json
import re

import pytest
from conftest import ROOT, run_lines, run_python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what a checkout has."""
    folder = tmp_path_factory.mktemp("weights_page")
    for name in ("tools", "configs", "docs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_word_for_word(root, folder):
    text = (root / "docs" / "weights.md").read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.S | re.M) for line in block.splitlines()
    ]
    assert len(lines) == 8
    lines.append("python tools/eval.py -c configs/quick/vit_digits.yaml")
    said = run_lines(lines, folder)
    *evaluated, own = [json.loads(answer) for line, answer in zip(lines, said, strict=True) if "tools/eval.py" in line]
    assert len(evaluated) == 2
    assert own["n"] == 360
    for other in evaluated:
        assert [other[key] for key in ("top1", "top5", "n")] == [own[key] for key in ("top1", "top5", "n")]
        assert other["loss"] == pytest.approx(own["loss"], rel=1e-6)
    card = json.loads((folder / "digits_hf" / "card.json").read_text())["provenance"]
    assert abs(card["metrics"][0]["value"] - 100 * own["top1"]) < 1e-9
    assert "license: apache-2.0" in (folder / "digits.card.md").read_text()
    changed = json.loads((folder / "digits_16.card.json").read_text())["provenance"]
    assert [note.split(":")[0] for note in changed["changes"]] == ["position embedding", "head"]


@pytest.mark.reference
def test_the_python_on_it(root, folder):
    """In transformers, on the folder that the commands above have written."""
    pytest.importorskip("transformers", minversion="5")
    text = (root / "docs" / "weights.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)
    if not (folder / "digits_hf").exists():
        test_word_for_word(root, folder)
    ask = "import numpy as np\nout = model(**processor(np.zeros((8, 8, 3), np.uint8), return_tensors='pt'))\nprint(out.logits.shape[1])"
    assert run_python(f"{code}\n{ask}", folder).split()[-1] == "10"
