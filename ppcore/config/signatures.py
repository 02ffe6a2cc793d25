"""What a component takes: its keyword parameters, and values checked against their annotations."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError


def made_by(target: Any) -> type | None:
    """The class whose instance `target` gives: itself, or what a function's annotation says; None if nothing says it."""
    if inspect.isclass(target):
        return target
    annotation = _signature(target).return_annotation if inspect.isfunction(target) else None
    return annotation if inspect.isclass(annotation) and annotation is not inspect.Signature.empty else None


@cache
def parameters(target: Callable) -> dict[str, inspect.Parameter]:
    """Keyword parameters of a component.

    A builder that passes `**kwargs` on is followed through its return annotation, so
    `vit_base_patch16_224(**kwargs) -> VisionTransformer` accepts what the class accepts; a class that
    passes them on is followed to its base.
    """
    found = own_parameters(target)
    if any(p.kind is p.VAR_KEYWORD for p in _signature(target).parameters.values()):
        result = target.__mro__[1] if inspect.isclass(target) else made_by(target)
        if inspect.isclass(result):
            found = {**parameters(result), **found}
    return found


def own_parameters(target: Callable) -> dict[str, inspect.Parameter]:
    """Keyword parameters that a component declares itself, not those it hands on."""
    everything = _signature(target).parameters.items()
    return {name: p for name, p in everything if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _signature(target: Callable) -> inspect.Signature:
    """The signature with its annotations; without them where they name what type checkers alone import (Paddle's own).

    What every network takes from Paddle (a scope's name, a dtype) is no argument of any.
    """
    if inspect.isclass(target) and getattr(target.__init__, "__module__", None) == "paddle.nn.layer.layers":
        return inspect.Signature()
    try:
        return inspect.signature(target, eval_str=True)
    except NameError:
        signature = inspect.signature(target)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
        return inspect.Signature(bare)


def open_ended(target: Callable) -> bool:
    """Whether a component takes keyword arguments that nothing declares (PaddleClas's builders do).

    They cannot be checked before it is built.
    """
    signature = _signature(target)
    passes_on = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    return passes_on and not inspect.isclass(target) and made_by(target) is None


def adapter(annotation: Any) -> TypeAdapter:
    """What checks values against an annotation, strictly."""
    try:
        return TypeAdapter(
            annotation, config=ConfigDict(arbitrary_types_allowed=True, strict=True, allow_inf_nan=False)
        )
    except PydanticUserError:  # it refuses a config beside annotations that carry their own (models)
        return TypeAdapter(annotation)


def convert(value: Any, annotation: Any) -> Any:
    """Checks `value` against `annotation`, strictly, and builds its models (such as Duration)."""
    return adapter(annotation).validate_python(value, strict=True)
