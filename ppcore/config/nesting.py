"""Components inside components: which an argument takes, by its annotation, alone or in a list or mapping."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from ppcore.config import roles
from ppcore.config.roles import Role


def members(annotation: Any) -> tuple:
    """The alternatives of a union; any other annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def roles_in(annotation: Any) -> tuple[Role, ...]:
    """The roles of the components that an argument of this annotation takes."""
    return tuple(role for member in members(annotation) if (role := roles.of_annotation(member)))


def plain_members(annotation: Any) -> tuple:
    """What such an argument takes besides components."""
    return tuple(member for member in members(annotation) if roles.of_annotation(member) is None)


def items_inside(value: Any, annotation: Any) -> list[tuple[Any, Any, Any]] | None:
    """(key, item, annotation of the item) of a list or mapping whose annotation has components inside; else None."""
    for member in members(annotation):
        arguments = [a for a in get_args(member) if a is not Ellipsis]
        if not arguments or not takes_components(arguments[-1]):
            continue
        if isinstance(value, Mapping) and len(arguments) == 2:
            return [(key, item, arguments[-1]) for key, item in value.items()]
        if isinstance(value, (list, tuple)) and len(arguments) == 1:
            return [(i, item, arguments[-1]) for i, item in enumerate(value)]
    return None


def takes_components(annotation: Any) -> bool:
    """Whether an argument of this annotation takes components, alone or in a list or mapping."""
    inner = (a for member in members(annotation) for a in get_args(member) if a is not Ellipsis)
    return bool(roles_in(annotation)) or any(map(takes_components, inner))
