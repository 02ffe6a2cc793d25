"""Measuring speed beside the peers, every contender in a fresh process and in the same loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def components(what: str) -> dict[str, Any]:
    """What the benchmark of that name measures: the content of its YAML file."""
    import yaml  # here: a contender's process imports no more than it needs

    return yaml.safe_load((Path(__file__).parent / f"{what}.yaml").read_text(encoding="utf-8"))


def component(text: str) -> str | dict[str, Any]:
    """A builder's name, or `{name: builder, argument: value}` as in YAML.

    Raises:
        ConfigError: it is neither.
    """
    import yaml  # here: a contender's process imports no more than it needs

    from ppcore.errors import ConfigError

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, str) and not (isinstance(found, dict) and "name" in found):
        raise ConfigError(f"--arch {text}: write a builder, or {{name: builder, argument: value}}")
    return found


def chosen(given: Sequence[str] | None, known: Mapping[str, Any], option: str) -> list[str]:
    """The names asked for, or all.

    Raises:
        ConfigError: one does not exist.
    """
    from ppcore.errors import ConfigError, nearest  # here: a contender's process imports no more than it needs

    for name in given or ():
        if name not in known:
            raise ConfigError(f"{option}: no '{name}'{nearest(name, known)}; there are {', '.join(known)}")
    return list(given or known)
