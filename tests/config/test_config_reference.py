"""docs/configuration.md says what the sections are."""

import runpy
from pathlib import Path

import pytest

from ppcore.config import Config
from ppcore.config.section import section_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
markdown = runpy.run_path(str(DOCS / "configuration.py"))["markdown"]


def sections(section=Config, path=""):
    """(key path, section) of every section."""
    yield path, section
    for key, field in section.model_fields.items():
        if (inner := section_of(field.annotation)) is not None:
            yield from sections(inner, f"{path}.{key}".lstrip("."))


def test_the_page_is_up_to_date(root):
    page = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == markdown(), "write it again: python docs/configuration.py"


@pytest.mark.parametrize(
    ("path", "section"), list(sections()), ids=lambda item: item if isinstance(item, str) else None
)
def test_every_key_has_a_meaning_and_a_row(path, section):
    text = markdown()
    for key, field in section.model_fields.items():
        assert field.description, f"{path}.{key}: add a line below it that says what it means"
        assert f"| `{key}` | " in text
        assert " ".join(field.description.split()) in text


def test_every_section_has_a_heading():
    headings = [line.removeprefix("## ").split(", ") for line in markdown().splitlines() if line[:2] == "##"]
    found = {path for line in headings for path in line}
    assert {path for path, _ in sections() if path} <= found


@pytest.mark.parametrize(
    "row",
    [
        "| `output_dir` | text | required | ",
        "| `duration` | duration | `{epochs: 1.0}` | ",
        "| `device` | auto \\| cpu \\| gpu | `auto` | ",
        "| `decay` | number, ≥ 0, < 1 | required | ",
        "| `Loss` | component (criterion) \\| null | `null` | ",
        "| `transforms` | mapping to component (transform) | `{}` | ",
        "| `lr` | component (schedule) | required | ",
        "| `Metric` | component (metric) | `{name: ppcore.metrics.TopK, topk: [1, 5]}` | ",
        "| `Global.pretrained_model` | Global.pretrained=FILE |",
    ],
)
def test_types_and_defaults(row):
    assert f"\n{row}" in markdown()


def test_a_row_is_one_line(root):
    lines = (root / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    assert all(line.endswith(" |") for line in lines if line.startswith("| "))
