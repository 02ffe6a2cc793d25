"""The benchmark measures what is installed and says what is not."""

import pytest

from ppcore.benchmark import run
from ppcore.errors import ConfigError

ARCH = "ppvit.vit_tiny_patch16_224"


def test_ours_is_measured_and_absent_peers_are_named(monkeypatch):
    def fake(name, environment, threads, **sizes):
        rate = {"default": 4.0, "mkl": 6.0, "suite": 9.0}[environment]
        return (
            {"missing": "pip install x"}
            if name == "torch"
            else {"images_per_second": rate * (2 if name == "ours" else 1)}
        )

    monkeypatch.setattr(run, "in_a_process", fake)
    result = run.train(["ours", "paddleclas", "torch"], batch=1, size=16, steps=1, rounds=2, threads=1, arch=ARCH)
    ours = [row for row in result["rows"] if row["contender"] == "ours"]
    assert [row["ratio_to_paddleclas"] for row in ours] == [2.0, 2.0, 2.0]
    assert "not installed: `pip install x`" in run.table(result)


def test_a_real_step():
    found = run.in_a_process("ours", "suite", 1, batch=1, size=32, steps=2, arch=ARCH)
    assert 0 < found["slowest"] <= found["images_per_second"] <= found["fastest"]
    assert 0 < found["loss"] < 7  # it has learned something of its one image; -log(1/1000) is 6.9


def test_unknown_contender():
    with pytest.raises(ConfigError, match="did you mean 'paddleclas'"):
        run.train(["paddelclas"], batch=1, size=16, steps=1, rounds=1, threads=1, arch=ARCH)
