"""Our ViT against the stored numbers of another implementation (see ppvit/fidelity.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from ppvit import fidelity

DATA = Path(__file__).parents[1] / "fidelity_data" / "vit_tiny.npz"


def test_every_row_is_within_its_tolerance():
    rows = fidelity.measure(DATA)
    assert len(rows) == 5 + 3 * 3
    beyond = [f"{row.what}: {row.measured:.2e} > {row.tolerance:.0e}" for row in rows if not row.passed]
    assert not beyond, "\n".join(beyond)


def test_the_file_is_small_and_says_where_it_comes_from():
    facts = json.loads(DATA.with_suffix(".json").read_text())
    assert DATA.stat().st_size < 700_000
    for key in ("made_by", "implementation", "versions", "licence", "filling", "seed", "config"):
        assert facts[key], key
    assert set(facts["versions"]) >= {"torch", "transformers"}


@pytest.mark.parametrize(
    "change",
    [dict(norm_eps=1e-5), dict(act="gelu_tanh")],
)
def test_a_subtly_different_model_is_noticed(monkeypatch, change):
    facts = json.loads(DATA.with_suffix(".json").read_text())
    facts["config"] |= change
    rows = list(fidelity._one_pass(facts, np.load(DATA)))
    logits = next(row for row in rows if row.what == "logits")
    assert not logits.passed, logits
