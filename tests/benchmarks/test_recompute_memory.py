"""Peak memory of training steps, measured in processes of their own."""

import pytest

from benchmarks import components, memory

TINY = "ppvit.vit_tiny_patch16_224"


def test_both_modes_do_the_same_steps():
    result = memory.memory([{"arch": TINY, "batch": 2}], size=32, steps=1)
    plain, ours = result["rows"]
    assert (plain["mode"], ours["mode"]) == ("plain", "recompute")
    assert plain["loss"] == ours["loss"]
    for row in (plain, ours):
        assert 0 < row["start_bytes"] <= row["peak_bytes"]
        assert row["seconds"] > 0
    text = memory.table(result)
    assert [line.split(" | ")[2] for line in text.splitlines() if TINY in line] == ["no", "yes"]


@pytest.mark.slow
def test_recompute_takes_less():
    plain, ours = memory.memory([{"arch": TINY, "batch": 32}], steps=1)["rows"]
    assert ours["peak_bytes"] < 0.7 * plain["peak_bytes"]


def test_what_is_measured_by_default_can_be_built():
    from ppcore.config import components as built

    for network in components("memory")["networks"]:
        assert callable(built.resolve(network["arch"], "Arch"))
        assert network["batch"] >= 1
