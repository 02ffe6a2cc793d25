"""Components inside components: which an argument takes, by its annotation, alone or in a list or mapping."""

import inspect
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from ppcore.config import roles
from ppcore.config.roles import Role
from ppcore.errors import nearest


def members(annotation: Any) -> tuple:
    """The alternatives of a union; any other annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def roles_in(annotation: Any) -> tuple[Role, ...]:
    """The roles of the components that an argument of this annotation takes."""
    return tuple(role for member in members(annotation) if (role := roles.of_annotation(member)))


def plain_members(annotation: Any) -> tuple:
    """What such an argument takes besides components, and lists and mappings of them."""
    return tuple(member for member in members(annotation) if not takes_components(member))


def items_inside(value: Any, annotation: Any) -> list[tuple[Any, Any, Any]] | None:
    """(key, item, annotation of the item) of a list or mapping whose annotation has components inside; else None.

    Of a TypedDict only the keys that it has; `wrong_keys` tells the others.
    """
    for member in members(annotation):
        if is_typeddict(member) and isinstance(value, Mapping) and takes_components(member):
            return [(key, value[key], each) for key, each in get_type_hints(member).items() if key in value]
        arguments = [a for a in get_args(member) if a is not Ellipsis]
        if not arguments or not takes_components(arguments[-1]):
            continue
        if isinstance(value, Mapping) and len(arguments) == 2:
            return [(key, item, arguments[-1]) for key, item in value.items()]
        if isinstance(value, (list, tuple)) and len(arguments) == 1:
            return [(i, item, arguments[-1]) for i, item in enumerate(value)]
    return None


def form(annotation: Any) -> str:
    """`mapping` or `list`: what holds the components of such an argument."""
    kinds = [get_origin(member) or member for member in members(annotation)]
    return "mapping" if any(inspect.isclass(kind) and issubclass(kind, Mapping) for kind in kinds) else "list"


def takes_components(annotation: Any) -> bool:
    """Whether an argument of this annotation takes components, alone or in a list or mapping."""
    inner = [a for member in members(annotation) for a in get_args(member) if a is not Ellipsis]
    inner += [a for member in members(annotation) if is_typeddict(member) for a in get_type_hints(member).values()]
    return bool(roles_in(annotation)) or any(map(takes_components, inner))


def wrong_keys(value: Any, annotation: Any) -> list[str]:
    """What is wrong with the keys of a mapping of which a TypedDict says what it holds."""
    found = []
    for member in members(annotation):
        if is_typeddict(member) and isinstance(value, Mapping):
            known = get_type_hints(member)
            found += [f"unknown key '{key}'{nearest(str(key), known)}" for key in value if key not in known]
            found += [f"needs the key '{key}'" for key in known if key in member.__required_keys__ - value.keys()]
    return found
