"""What the tests of every stored reference (`tests/fidelity_data`) ask of it."""

import json
from pathlib import Path

from ppcore.reproduce import fidelity

FACTS = ("made_by", "implementation", "versions", "licence", "filling", "seed", "config")


def beyond(rows) -> set[str]:
    """What the rows beyond their tolerance compared."""
    return {row.what for row in rows if not row.passed}


def check_rows(described_by, file: Path, count: int) -> None:
    """All rows are there, each once, and within their tolerance."""
    rows = fidelity.measure(described_by, file)
    assert len({row.what for row in rows}) == len(rows) == count
    failed = [f"{row.what}: {row.measured:.2e} > {row.tolerance:.0e}" for row in rows if not row.passed]
    assert not failed, "\n".join(failed)


def check_origin(file: Path) -> None:
    """The file says where it comes from."""
    facts = json.loads(file.with_suffix(".json").read_text())
    for key in FACTS:
        assert facts[key], key
