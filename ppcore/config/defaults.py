"""A checked configuration as plain mappings, with every key that was left out."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ppcore.config import components
from ppcore.config.durations import Duration


def with_defaults(value: Any) -> Any:
    """Sections, durations and components as plain mappings with every key that has a default."""
    if isinstance(value, Duration):
        return _plain(value)
    if isinstance(value, BaseModel):
        keys = {key: with_defaults(getattr(value, key)) for key in type(value).model_fields}
        # A section that is a component, too: its own arguments come first.
        own = {} if value.model_extra is None else with_defaults({"name": value.name, **value.model_extra})
        return own | {key: item for key, item in keys.items() if key not in own}
    if components.is_component(value):
        return _plain(components.with_defaults(value))
    if isinstance(value, Mapping):
        return {key: with_defaults(item) for key, item in value.items()}
    return [with_defaults(item) for item in value] if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """An argument as YAML holds it: durations as mappings, tuples as lists."""
    if isinstance(value, Duration):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
