"""The benchmark of the training input path."""

import pytest

from benchmarks import components, loop_thread


def test_every_way_is_timed():
    result = loop_thread.loop_thread(**components("loop_thread") | {"batch": 4, "size": 16, "num_classes": 10}, steps=1)
    assert [row["where"] for row in result["rows"]] == ["loop", "host", "device"]
    for row in result["rows"]:
        assert row["images_per_second"] == pytest.approx(4e3 / max(row["loop"], row["beside"]))
        assert row["loop"] > 0
    assert len([line for line in loop_thread.table(result).splitlines() if line.startswith("| ")]) == 4
