"""Shared by all tests: thread variables before Paddle, and where optional data is."""

from ppcore import runtime

runtime.configure()

import os  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


def _optional(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable) or default)
    if not folder.is_dir():
        pytest.skip(f"{what} not found: set {variable} (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference inputs and outputs that are not part of the repository."""
    return _optional("PP_GOLDEN_DIR", ROOT.parent / "shared" / "golden", "golden data")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images that are not part of the repository."""
    return _optional("PP_DATA_DIR", ROOT.parent / "shared" / "data", "real data")
