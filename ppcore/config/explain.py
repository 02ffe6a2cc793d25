"""What pydantic says of a configuration, as lines that name the key and the nearest match."""

from typing import Any

from pydantic import ValidationError

from ppcore.config.paddleclas_keys import answer
from ppcore.config.schema import Config, section_of
from ppcore.errors import nearest


def explain(error: ValidationError, tree: Any) -> list[str]:
    """Each complaint with its key path, and the nearest key for a misspelling."""
    complaints = error.errors()
    unknown = [item["loc"] for item in complaints if item["type"] == "extra_forbidden"]
    found: dict[str, str] = {}
    for item in complaints:
        *above, last = item["loc"] or ("",)
        path = ".".join(str(part) for part in _keys(item, tree))
        if item["type"] == "extra_forbidden":
            line = f"{path}: unknown key{answer(path) or nearest(str(last), _keys_beside(item['loc']))}"
        elif item["type"] == "missing":
            if any(list(loc[:-1]) == above and nearest(str(loc[-1]), [last]) for loc in unknown):
                continue  # it is there, misspelt
            line = f"{path}: this key is required"
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = "" if item["type"] == "value_error" else f", got {item['input']!r}"
            line = f"{path}: {message[0].lower()}{message[1:]}{given}" if path else message
        found.setdefault(path, line)
    return list(found.values())


def _keys(complaint: Any, tree: Any) -> list[Any]:
    """The location of a complaint without the names that pydantic gives to the alternatives of a union."""
    found, node = [], tree
    for part in complaint["loc"]:
        try:
            node = node[part]
        except (TypeError, KeyError, IndexError):
            if complaint["type"] != "missing" or part != complaint["loc"][-1]:
                continue
        found.append(part)
    return found


def _keys_beside(location: tuple) -> list[str]:
    """Keys declared in the section that holds the last part of `location`."""
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(part)
        model = (section_of(field.annotation) if field else None) or (None if field else model)  # a name, or a tag
        if model is None:
            return []
    return list(model.model_fields)
