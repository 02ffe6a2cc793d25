"""docs/super_resolution.md, "Enlarging photographs", followed word for word with the authors' weights."""

import re

import numpy as np
import pytest
from conftest import ROOT, run_lines, run_python
from PIL import Image
from skimage import data

PAGE = (ROOT / "docs" / "super_resolution.md").read_text(encoding="utf-8")
PART = PAGE.partition("## Enlarging photographs\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PART, flags=re.S | re.M)


@pytest.mark.slow
def test_word_for_word(real_data, tmp_path):
    for name in ("tools", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "weights").symlink_to(real_data / "weights")
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.chelsea()[::3, ::3]).save(tmp_path / "photos" / "cat.png")
    [settings], [commands], [code] = blocks("yaml"), blocks("bash"), blocks("python")
    (tmp_path / "enlarge.yaml").write_text(settings)
    run_lines(commands.splitlines(), tmp_path)
    run_python(code, tmp_path)
    written, again = (np.asarray(Image.open(tmp_path / name)) for name in ("large/cat.png", "cat_large.png"))
    assert written.shape == again.shape == (300, 453, 3)
    assert np.abs(written.astype(int) - again).max() <= 1  # by another engine


def test_the_table_names_networks_and_what_they_are_given():
    import ppsr
    from ppcore.model import traits

    rows = [line.split("|") for line in PART.splitlines() if line.startswith("| `ppsr")]
    names = [re.findall(r"`(?:ppsr\.)?([\w]+)`", row[1]) for row in rows]
    for group, row in zip(names, rows, strict=True):
        for name in group:
            about = traits(getattr(ppsr, name)(**({"scale": 4} if name == "Bicubic" else {})))
            assert about.makes_images
            assert row[2].strip().startswith("Y" if about.in_chans == 1 else "colours")
            assert about.enlarged_first == ("enlarged" in row[2])
