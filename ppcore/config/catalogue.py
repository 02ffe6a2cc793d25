"""What a configuration may name, found in the packages: for people who look for a name or its arguments."""

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from ppcore.config import components, nesting, roles, signatures
from ppcore.config.durations import Duration
from ppcore.config.roles import Role
from ppcore.errors import ConfigError

KINDS = {
    "models": (roles.NETWORK,),
    "datasets": (roles.DATASET,),
    "transforms": (roles.TRANSFORM, roles.BATCH_TRANSFORM),
    "losses": (roles.CRITERION,),
    "tasks": (roles.TASK,),
    "optimizers": (roles.OPTIMIZER,),
    "schedules": (roles.SCHEDULE,),
    "metrics": (roles.METRIC,),
}


@dataclass(frozen=True)
class Entry:
    """A component.

    Attributes:
        name: the shortest a configuration may call it by.
        summary: the first line of its docstring.
        arguments: (name, type, default) as texts; the default of a required one is None.
        also: the class whose arguments it takes besides, for a builder that hands them on.
        target: the class or function.
    """

    name: str
    summary: str
    arguments: tuple[tuple[str, str, str | None], ...]
    also: str | None
    target: Any

    def text(self) -> str:
        """The component in lines: name and summary, then an argument each."""
        lines = [f"{self.name}: {self.summary}"]
        for name, kind, default in self.arguments:
            lines.append(f"    {name}: {kind}{'' if default is None else f' = {default}'}")
        if self.also:
            lines.append(f"    and the arguments of {self.also}")
        return "\n".join(lines)


def components_of(kind: str) -> list[Entry]:
    """The components of a kind in the suite, the registered packages and those that are allowed.

    Other people's collections (paddle.vision.models, PaddleClas) are not searched. Of a package that exports models
    these are listed, not the layers they are made of.
    """
    found = [entry for role in KINDS[kind] for entry in _entries(role)]
    return sorted(found, key=lambda entry: entry.name)


def layouts() -> dict[str, list[str]]:
    """Layouts of weight files: each with the networks that are read from it and written to it."""
    found = {"paddle": ["every network: the suite's own"]}
    for made in dict.fromkeys(signatures.made_by(entry.target) for entry in components_of("models")):
        for layout in weight_maps_of(made):
            found.setdefault(layout, []).append(f"{made.__module__.partition('.')[0]}.{made.__qualname__}")
    return dict(sorted(found.items()))


def layouts_by_model() -> dict[str, list[str]]:
    """Every model a configuration may name, with the layouts of its weight files, its own (`paddle`) first."""
    entries = components_of("models")
    return {entry.name: ["paddle", *sorted(weight_maps_of(signatures.made_by(entry.target)))] for entry in entries}


def layouts_text() -> str:
    """The layouts, and every model with those it has, for people."""
    lines = ["layouts:"]
    lines += [f"  {layout}: {', '.join(networks)}" for layout, networks in layouts().items()]
    lines += ["", "models:"]
    lines += [f"  {name}: {', '.join(names)}" for name, names in layouts_by_model().items()]
    return "\n".join(lines)


def weight_maps_of(made: Any) -> Mapping[str, Any]:
    """The layouts of a class of networks by name: which there are is the same for all sizes."""
    maps = getattr(made, "weight_maps", None)
    return maps(made.__new__(made)) if maps else {}


def _entries(role: Role) -> Iterator[Entry]:
    own = [module for module in role.modules if module.partition(".")[0] == "ppcore"]
    if role is roles.NETWORK:
        modules = [module for package in roles.packages() for module in _exporting(package)]
    else:
        modules = [*map(importlib.import_module, own), *(m for package in roles.packages() for m in _walk(package))]
    names: dict[Any, list[str]] = {}
    for module in modules:
        for attribute in components.public_names(module):
            name, home = f"{module.__name__}.{attribute}", str(getattr(getattr(module, attribute), "__module__", ""))
            if home.partition(".")[0] == module.__name__.partition(".")[0]:  # else it is listed where it belongs
                names.setdefault(getattr(module, attribute), []).append(name)
    for target, candidates in names.items():
        name = min(candidates, key=lambda text: (text.count("."), len(text)))
        try:
            components.resolve(name, "", role)
        except ConfigError:
            continue
        if _can_be_configured(target, role):
            yield _entry(name, target, role)


def _walk(package: str) -> list[ModuleType]:
    """A package and its modules, but for those that need what is not installed."""
    found = [importlib.import_module(package)]
    for module in pkgutil.walk_packages(getattr(found[0], "__path__", []), f"{package}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            with contextlib.suppress(ModuleNotFoundError):
                found.append(importlib.import_module(module.name))
    return found


def _exporting(package: str) -> list[ModuleType]:
    """The modules whose names are for users: the packages; all modules where these export nothing of their own."""
    modules = _walk(package)
    exporting = [module for module in modules if hasattr(module, "__path__")]
    return exporting if any(components.public_names(module) for module in exporting) else modules


def _can_be_configured(target: Any, role: Role) -> bool:
    """Whether YAML can hold what it requires (an array of pixels it cannot)."""
    required = (p for p in signatures.parameters(target).values() if p.default is p.empty)
    return all(p.name in role.provided or _is_data(p.annotation) for p in required)


def _is_data(annotation: Any) -> bool:
    if annotation is inspect.Parameter.empty or nesting.takes_components(annotation):
        return True
    try:
        signatures.adapter(annotation).json_schema()
    except PydanticInvalidForJsonSchema:
        return False
    return True


def _entry(name: str, target: Any, role: Role) -> Entry:
    own = signatures.own_parameters(target)
    arguments = tuple(
        (key, type_text(p.annotation), None if p.default is p.empty else value_text(p.default))
        for key, p in own.items()
        if key not in role.provided
    )
    made = signatures.made_by(target)
    handed_on = made is not target and set(signatures.parameters(target)) > set(own)
    also = f"{made.__module__.partition('.')[0]}.{made.__qualname__}" if handed_on else None
    paragraph = (inspect.getdoc(target) or "").partition("\n\n")[0]
    return Entry(name, " ".join(paragraph.split()).removesuffix("."), arguments, also, target)


def type_text(annotation: Any) -> str:
    """An annotation as a user of YAML reads it."""
    if annotation is inspect.Parameter.empty or annotation is Any:
        return "any"
    if annotation in (None, NoneType):
        return "null"
    if (role := roles.of_annotation(annotation)) is not None:
        return role.what
    origin, arguments = get_origin(annotation), [a for a in get_args(annotation) if a is not Ellipsis]
    if origin is Literal:
        return " | ".join(value_text(value) for value in arguments)
    if origin is tuple or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return f"list of {' | '.join(dict.fromkeys(map(type_text, arguments)))}"
    if inspect.isclass(origin) and issubclass(origin, dict):
        return f"mapping to {type_text(arguments[-1])}"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return type_text(arguments[0])
    if arguments:
        return " | ".join(dict.fromkeys(map(type_text, arguments)))
    if annotation is Duration:
        return "duration"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "mapping"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true | false"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )


def value_text(value: Any) -> str:
    """A default as YAML has it."""
    if isinstance(value, Duration):
        return "{" + ", ".join(f"{k}: {value_text(v)}" for k, v in value.model_dump(exclude_none=True).items()) + "}"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
