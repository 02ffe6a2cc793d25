"""Measuring speed beside the peers, every contender in a fresh process and in the same loop."""

from pathlib import Path
from typing import Any


def components(what: str) -> dict[str, Any]:
    """What the benchmark of that name measures: the content of its YAML file."""
    import yaml  # here: a contender's process imports no more than it needs

    return yaml.safe_load((Path(__file__).parent / f"{what}.yaml").read_text(encoding="utf-8"))
