"""The reproduce tool: what it checks, what it leaves out and says so, which rows it knows."""

import pytest

from ppcore.engine import reproduce
from ppcore.errors import ConfigError
from ppcore.report import load_paper


@pytest.fixture(scope="module")
def paper(root):
    return load_paper(root / "papers" / "vit.yaml")


@pytest.fixture(scope="module")
def root():
    from conftest import ROOT

    return ROOT


def test_fidelity_rows_pass_and_absent_data_is_said(paper, root, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    rows = reproduce.fidelity_rows(paper, root)
    assert {row["level"] for row in rows} == {1, 2, 3, 4, 5}
    assert all(row["passed"] for row in rows if row["level"] < 5)
    trained = [row for row in rows if row["level"] == 5]
    assert [row["passed"] for row in trained] == [None]
    assert "PP_DATA_DIR is not set" in trained[0]["note"]


def test_a_wrong_count_is_a_failed_row(paper, root, monkeypatch):
    monkeypatch.delenv("PP_DATA_DIR", raising=False)
    monkeypatch.setattr(reproduce, "count_parameters", lambda builder: 1)
    first = reproduce.fidelity_rows(paper, root)[0]
    assert first["passed"] is False
    assert "vit_tiny_patch16_224: 1 instead of 5,717,416" in first["note"]


def test_rows_of_the_paper(paper, root):
    found = reproduce.recipe(paper, "table5", "B/16 ImageNet-1k ImageNet")
    assert found.published == 77.91
    for item in paper.reproduce:
        assert all((root / step.config).is_file() for step in item.configs), item
    with pytest.raises(ConfigError, match="did you mean 'L/16 ImageNet-21k Pets'"):
        reproduce.recipe(paper, "table5", "L/16 ImageNet-21k Pet")
    with pytest.raises(ConfigError, match="--table table9: no recipe"):
        reproduce.recipe(paper, "table9", "x")
