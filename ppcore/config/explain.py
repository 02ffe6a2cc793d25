"""What pydantic says of a value, as lines that name the key and the nearest match."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ppcore.config.paddleclas_keys import answer
from ppcore.errors import nearest


def explain(error: ValidationError, value: Any, annotation: Any, at: str = "") -> list[str]:
    """Each complaint in one line, with its key path and the nearest key for a misspelling.

    Args:
        error: what pydantic raised.
        value: the value that was checked.
        annotation: the model, or the type, it was checked against.
        at: the key path of the value.
    """
    complaints = error.errors()
    unknown = [item["loc"] for item in complaints if item["type"] == "extra_forbidden"]
    found: dict[str, str] = {}
    for item in complaints:
        *above, last = item["loc"] or ("",)
        path = ".".join(map(str, [*([at] if at else []), *_keys(item, value)]))
        if item["type"] == "extra_forbidden":
            message = f"unknown key{answer(path) or nearest(str(last), _keys_beside(item['loc'], annotation))}"
        elif item["type"] == "missing":
            if any(list(loc[:-1]) == above and nearest(str(loc[-1]), [last]) for loc in unknown):
                continue  # it is there, misspelt
            message = "this key is required"
        else:
            message = item["msg"].removeprefix("Value error, ")
            if path:
                given = "" if item["type"] == "value_error" else f", got {item['input']!r}"
                message = f"{message[0].lower()}{message[1:]}{given}"
        found.setdefault(path, f"{path}: {message}" if path else message)
    return list(found.values())


def _keys(complaint: Any, value: Any) -> list[Any]:
    """The location of a complaint without the names that pydantic gives to the alternatives of a union."""
    found, node = [], value
    for part in complaint["loc"]:
        try:
            node = node[part]
        except (TypeError, KeyError, IndexError):
            if complaint["type"] != "missing" or part != complaint["loc"][-1]:
                continue
        found.append(part)
    return found


def _keys_beside(location: tuple, annotation: Any) -> list[str]:
    """Keys declared in the model that holds the last part of `location`."""
    model = _model_in(annotation)
    for part in location[:-1]:
        if model is None:
            return []
        if part in model.model_fields:  # else the name of one of several, or of an alternative
            model = _model_in(model.model_fields[part].annotation)
    return [] if model is None else list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
