"""Components of a configuration: `{name: dotted.path, **arguments}`, checked early, built late.

A name is a dotted path into a short list of packages: no registry, no folder scan, nothing
evaluated. Arguments are checked against the annotated signature when the configuration is
loaded, so a misspelt key cannot train the wrong run.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ppcore.errors import ConfigError, nearest

# Not all of paddle: `paddle.load` would unpickle what a configuration names.
ALLOWED = ("ppcore", "ppvit", "ppdeit", "ppuhdfour", "paddle.nn", "paddle.optimizer", "paddle.vision", "paddleclas")


def resolve(name: Any, where: str) -> Callable:
    """Returns the class or function a dotted path names.

    Raises:
        ConfigError: not a dotted path, a package outside `ALLOWED`, or nothing of that name.
    """
    if not isinstance(name, str) or "." not in name:
        raise ConfigError(f"{where}: name must be a dotted path such as ppvit.vit_base_patch16_224, not {name!r}")
    package, _, attribute = name.rpartition(".")
    if not _allowed(package):
        raise ConfigError(f"{where}: '{name}' is outside the packages a configuration may name: {', '.join(ALLOWED)}")
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: cannot import '{package}' for '{name}': {error}") from error
    if attribute.startswith("_") or not callable(getattr(module, attribute, None)):
        raise ConfigError(f"{where}: '{package}' has no '{attribute}'{nearest(attribute, public_names(module))}")
    target = getattr(module, attribute)
    if not _allowed(getattr(target, "__module__", None)):  # `ppcore.config.deepcopy` is Python's
        raise ConfigError(f"{where}: '{name}' is not of the packages a configuration may name: {', '.join(ALLOWED)}")
    return target


def _allowed(path: Any) -> bool:
    return isinstance(path, str) and any(path == name or path.startswith(f"{name}.") for name in ALLOWED)


def public_names(module: Any) -> list[str]:
    """Names of a module that a configuration could mean."""
    return [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name))]


@cache
def parameters(target: Callable) -> dict[str, inspect.Parameter]:
    """Keyword parameters of a component.

    A builder that passes `**kwargs` on is followed through its return annotation, so
    `vit_base_patch16_224(**kwargs) -> VisionTransformer` accepts what the class accepts; a class that
    passes them on is followed to its base.
    """
    found = dict(_signature(target).parameters)
    passed_on = [name for name, p in found.items() if p.kind is inspect.Parameter.VAR_KEYWORD]
    for name in passed_on:
        del found[name]
        result = target.__mro__[1] if inspect.isclass(target) else _returned(target)
        if inspect.isclass(result):
            found = {**parameters(result), **found}
    return found


def _signature(target: Callable) -> inspect.Signature:
    """The signature with its annotations; without them where they name what type checkers alone import (Paddle's own)."""
    try:
        return inspect.signature(target, eval_str=True)
    except NameError:
        signature = inspect.signature(target)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
        return inspect.Signature(bare)


def _returned(target: Callable) -> type | None:
    """The class a builder says it returns."""
    annotation = _signature(target).return_annotation
    return None if annotation is inspect.Signature.empty else annotation


def open_ended(target: Callable) -> bool:
    """Whether a component takes keyword arguments that nothing declares (PaddleClas's builders do).

    They cannot be checked before it is built.
    """
    signature = _signature(target)
    passes_on = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    return passes_on and not inspect.isclass(target) and not inspect.isclass(_returned(target))


def check(node: Any, where: str, *, provided: tuple[str, ...] = (), beside: Iterable[str] = ()) -> None:
    """Checks a component's name, argument names and argument types without building it.

    Args:
        node: the mapping from the configuration.
        where: `file: key path`, for messages.
        provided: arguments the caller of `build` will give; the configuration leaves them out.
        beside: keys that stand beside the component's own, for the nearest match.

    Raises:
        ConfigError: one line naming the key path and the nearest match.
    """
    if not isinstance(node, Mapping) or "name" not in node:
        raise ConfigError(f"{where}: expected a mapping with a 'name', got {node!r}")
    target = resolve(node["name"], where)
    known = parameters(target)
    for key, value in node.items():
        if key == "name":
            continue
        if key in provided:
            raise ConfigError(f"{where}.{key}: the program gives this argument itself: leave it out")
        if key not in known and not open_ended(target):
            hint = nearest(str(key), {*known, *beside})
            raise ConfigError(f"{where}.{key}: {node['name']} has no argument '{key}'{hint}")
        if is_component(value):
            check(value, f"{where}.{key}")
        elif key in known and known[key].annotation is not inspect.Parameter.empty:
            check_type(value, known[key].annotation, f"{where}.{key}")
    for key, parameter in known.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if needed and key not in node and key not in provided:
            raise ConfigError(f"{where}: {node['name']} needs the argument '{key}'")


def is_component(value: Any) -> bool:
    """Whether a value is itself a component."""
    roots = {name.split(".")[0] for name in ALLOWED}
    return isinstance(value, Mapping) and "." in str(value.get("name")) and value["name"].split(".")[0] in roots


def convert(value: Any, annotation: Any) -> Any:
    """Checks `value` against `annotation`, strictly, and builds its models (such as Duration)."""
    try:
        strictly = ConfigDict(arbitrary_types_allowed=True, strict=True, allow_inf_nan=False)
        adapter = TypeAdapter(annotation, config=strictly)
    except PydanticUserError:  # it refuses a config beside annotations that carry their own (models)
        adapter = TypeAdapter(annotation)
    return adapter.validate_python(value, strict=True)


def check_type(value: Any, annotation: Any, where: str) -> Any:
    """Returns `value` as `annotation` wants it, or raises ConfigError in one line."""
    try:
        return convert(value, annotation)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error, annotation)}, got {value!r}") from error


def describe(error: ValidationError, annotation: Any) -> str:
    """The first complaint of a pydantic error about a value for `annotation`, in one line."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(first['loc'][-1]), _fields(annotation))}"
    return message


def _fields(annotation: Any) -> set[str]:
    """Keys of the models an annotation mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return set(annotation.model_fields)
    return {key for part in get_args(annotation) for key in _fields(part)}


def build(node: Mapping, **provided: Any) -> Any:
    """Builds a checked component; nested components are built first.

    Raises:
        ConfigError: the constructor rejects its arguments.
    """
    target = resolve(node["name"], node["name"])
    known = parameters(target)
    arguments = {}
    for key, value in node.items():
        if key == "name":
            continue
        if is_component(value):
            arguments[key] = build(value)
        elif key in known and known[key].annotation is not inspect.Parameter.empty:
            arguments[key] = convert(value, known[key].annotation)
        else:
            arguments[key] = value
    try:
        return target(**arguments, **{key: value for key, value in provided.items() if key in known})
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{node['name']}: {error}") from error
    except TypeError as error:
        if open_ended(target):
            raise ConfigError(f"{node['name']}: {error}") from error
        raise
