"""Dictionaries and lists that refuse to change, for a configuration that is what was checked."""

from typing import Any, NoReturn


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("a loaded configuration is read-only: change the YAML or use -o")


class ReadOnlyDict(dict):
    """A dict without its mutating methods; copies and pickles are plain dicts."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


class ReadOnlyList(list):
    """A list without its mutating methods; copies and pickles are plain lists."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple:
        return list, (list(self),)


def read_only(value: Any) -> Any:
    """`value` with every dict and list in it replaced by its read-only form."""
    if isinstance(value, dict):
        return ReadOnlyDict((key, read_only(item)) for key, item in value.items())
    if isinstance(value, list):
        return ReadOnlyList(read_only(item) for item in value)
    return value
