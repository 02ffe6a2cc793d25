"""Our ViT against the stored numbers of another implementation (see ppvit/reference_vit.py)."""

import json
from pathlib import Path

import pytest

from ppcore.reproduce import fidelity
from ppvit.reference_vit import ViTReference

DATA = Path(__file__).parents[1] / "fidelity_data" / "vit_tiny.npz"


def test_every_row_is_within_its_tolerance():
    rows = fidelity.measure(ViTReference, DATA)
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
def test_a_subtly_different_model_is_noticed(change):
    facts, arrays = fidelity.read(DATA)
    facts["config"] |= change
    rows = list(fidelity.one_pass(ViTReference(facts), arrays))
    logits = next(row for row in rows if row.what == "logits")
    assert not logits.passed, logits


@pytest.mark.parametrize(("depth", "alone"), [(2, "block_02"), (4, "block_03")])
def test_a_model_of_other_depth_is_not_compared(depth, alone):
    facts, arrays = fidelity.read(DATA)
    facts["config"]["depth"] = depth
    if depth < 3:
        arrays = {name: array for name, array in arrays.items() if "/blocks.2." not in name}
    else:
        arrays |= {name.replace("blocks.2", "blocks.3"): arrays[name] for name in arrays if "/blocks.2." in name}
    with pytest.raises(ValueError, match=f"alone has the stages {alone}"):
        list(fidelity.one_pass(ViTReference(facts), arrays))
