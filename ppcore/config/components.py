"""Components of a configuration: `{name: dotted.path, **arguments}`, checked early, built late.

A name is a dotted path to a public component of the role its place wants (`ppcore.config.roles`): no registry,
no folder scan, nothing evaluated. Arguments are checked against the annotated signature when the
configuration is loaded, so a misspelt key cannot train the wrong run.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, get_args

from pydantic import ValidationError

from ppcore.config import roles
from ppcore.config.nesting import form, items_inside, members, plain_members, roles_in, wrong_keys
from ppcore.config.paddleclas_keys import answer, answer_name
from ppcore.config.roles import Role, foreign_argument, inside, is_foreign
from ppcore.config.signatures import convert, describe, open_ended, own_parameters, parameters
from ppcore.errors import ConfigError, nearest, raise_all

# `Annotated[type, FREE]`: an argument that changes how fast or where something is done, not what is computed.
FREE = "free when a run goes on"


def resolve(name: Any, where: str, role: Role | None = None) -> Callable:
    """Returns the class or function a dotted path names.

    Args:
        name: the dotted path.
        where: `file: key path`, for messages.
        role: what it must be; None: any that a configuration may name.

    Raises:
        ConfigError: not a dotted path, not a public component, or none of this role.
    """
    return _resolve(name, where, (role,) if role else roles.COMPONENTS)


def _resolve(name: Any, where: str, wanted: Sequence[Role]) -> Callable:
    """The component of that name, if it plays one of these roles."""
    target = _find(name, where, wanted)
    is_protocol = getattr(target, "_is_protocol", False)
    if is_protocol or not any(_is_from(name, target, one) and one.plays(target) for one in wanted):
        raise ConfigError(f"{where}: '{name}' {_misfit(wanted)}")
    return target


def _misfit(wanted: Sequence[Role]) -> str:
    if wanted is roles.COMPONENTS:
        return "is nothing that a configuration may name"
    return " or ".join(f"is not {one.what}: it needs {one.needs}" for one in wanted)


def _find(name: Any, where: str, wanted: Sequence[Role]) -> Callable:
    """The public class or function of that name, of whatever role."""
    if not isinstance(name, str) or "." not in name:
        example = wanted[0].example
        raise ConfigError(f"{where}: name must be a dotted path such as {example}, not {name!r}{answer_name(name)}")
    package, _, attribute = name.rpartition(".")
    modules = tuple(dict.fromkeys(module for one in wanted for module in one.modules))
    private = any(part.startswith("_") or not part.isidentifier() for part in package.split("."))
    if private or not (package in modules or inside(package, *roles.packages())):
        raise ConfigError(f"{where}: '{name}' is outside the packages that may be named here: {_places(modules)}")
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(f"{where}: cannot import '{package}' for '{name}': {error}") from error
    target = getattr(module, attribute, None)
    if attribute.startswith("_") or not (inspect.isclass(target) or inspect.isfunction(target)):
        raise ConfigError(f"{where}: '{package}' has no '{attribute}'{nearest(attribute, public_names(module))}")
    return target


def _places(modules: Sequence[str]) -> str:
    """Where a name may come from, and how to add to it."""
    known = roles.packages()
    hint = "for a package of your own pass --allow PACKAGE"
    if not roles.registered():
        hint += "; no paper's package is registered here: install the suite again (make, or pip install -e .)"
    return f"{', '.join([*modules, *known])} ({hint})"


def _is_from(name: str, target: Callable, role: Role) -> bool:
    """Whether a role may be played by what this name leads to: `package.module.deepcopy` is Python's, `package.module.nn` Paddle's."""
    package = name.rpartition(".")[0]
    origin = str(getattr(target, "__module__", ""))
    if package not in role.modules and not inside(package, *roles.packages()):
        return False
    own = {root.partition(".")[0] for root in roles.packages()}
    return inside(origin, *role.modules, *own)


def public_names(module: Any) -> list[str]:
    """Names of a module that a configuration could mean."""
    return [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name))]


def check(node: Any, where: str, role: Role | None = None, *, beside: Iterable[str] = ()) -> None:
    """Checks a component's name, argument names and argument types without building it.

    Args:
        node: the mapping from the configuration.
        where: `file: key path`, for messages.
        role: what it must be; None: any that a configuration may name.
        beside: keys that stand beside the component's own, for the nearest match.

    Raises:
        ConfigError: one line for each mistake, with the key path and the nearest match.
    """
    raise_all(mistakes(node, where, role, beside=beside))


def mistakes(node: Any, where: str, role: Role | None = None, *, beside: Iterable[str] = ()) -> list[str]:
    """What `check` complains of, one line each."""
    return _mistakes(node, where, (role,) if role else roles.COMPONENTS, beside)


def _mistakes(node: Any, where: str, wanted: Sequence[Role], beside: Iterable[str] = ()) -> list[str]:
    if not isinstance(node, Mapping) or "name" not in node:
        return [f"{where}: expected a mapping with a 'name', got {node!r}", *_paddleclas_keys(node, where)]
    try:
        target = _resolve(node["name"], where, wanted)
    except ConfigError as error:
        return [str(error), *_paddleclas_keys(node, where)]
    provided = {key for one in wanted if one.plays(target) for key in one.provided}
    known, found = parameters(target), []
    for key, value in node.items():
        at = f"{where}.{key}"
        if key == "name":
            continue
        if key in provided:
            found.append(f"{at}: the program gives this argument itself: leave it out")
        elif is_foreign(target) and (why := foreign_argument(key, value)):
            found.append(f"{at}: {why}")
        elif key not in known and not open_ended(target):
            hint = answer(_key_path(at)) or nearest(str(key), {*known, *beside})
            found.append(f"{at}: {node['name']} has no argument '{key}'{hint}")
        else:
            annotation = known[key].annotation if key in known else inspect.Parameter.empty
            found += _value_mistakes(value, annotation, at)
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in node and key not in provided:
            found.append(f"{where}: {node['name']} needs the argument '{key}'")
    return found


def _key_path(where: str) -> str:
    """`Arch.depth` of `file: Arch.depth`."""
    return where.rpartition(": ")[2]


def _paddleclas_keys(node: Any, where: str) -> list[str]:
    """PaddleClas's keys in a mapping whose component is not known."""
    keys = node if isinstance(node, Mapping) else ()
    answers = ((f"{where}.{key}", answer(_key_path(f"{where}.{key}"))) for key in keys)
    return [f"{at}: unknown key{text}" for at, text in answers if text]


def _value_mistakes(value: Any, annotation: Any, where: str) -> list[str]:
    """What is wrong with an argument: a component where the annotation wants one, plain data everywhere else."""
    wanted = roles_in(annotation)
    if wanted and is_component(value):
        return _mistakes(value, where, wanted)
    if (inner := items_inside(value, annotation)) is not None:
        found = [f"{where}: {what}" for what in wrong_keys(value, annotation)]
        return found + [line for key, item, each in inner for line in _value_mistakes(item, each, f"{where}.{key}")]
    if annotation is inspect.Parameter.empty:
        return [f"{where}: takes no component: its argument says not which"] if _has_component(value) else []
    plain = plain_members(annotation)
    if not plain:
        what = f"a mapping with the 'name' of {wanted[0].what}" if wanted else f"a {form(annotation)} of components"
        return [f"{where}: expected {what}, got {value!r}"]
    try:
        convert(value, annotation if plain == members(annotation) else reduce(or_, plain))
    except ValidationError as error:
        return [f"{where}: {describe(error, annotation)}, got {value!r}"]
    return []


def _has_component(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_component(value) or any(map(_has_component, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_component, value))


def with_defaults(node: Mapping) -> dict[str, Any]:
    """A checked component with the arguments that it leaves to its own defaults, nested components too.

    What a builder hands on to a class is left out: the class's defaults need not be the builder's.
    """
    return _with_defaults(node, roles.COMPONENTS)


def _with_defaults(node: Mapping, wanted: Sequence[Role]) -> dict[str, Any]:
    target = _resolve(node["name"], node["name"], wanted)
    known, found = parameters(target), dict(node)
    for key in node:
        if key in known:
            found[key] = _value_with_defaults(node[key], known[key].annotation)
    for key in own_parameters(target).keys() - node.keys():
        default, annotation = known[key].default, known[key].annotation
        if default is not inspect.Parameter.empty and not _value_mistakes(default, annotation, key):
            found[key] = default
    return {key: found[key] for key in ["name", *node, *known] if key in found}


def _value_with_defaults(value: Any, annotation: Any) -> Any:
    wanted = roles_in(annotation)
    if wanted and is_component(value):
        return _with_defaults(value, wanted)
    if (inner := items_inside(value, annotation)) is not None:
        found = {key: _value_with_defaults(item, each) for key, item, each in inner}
        return found if isinstance(value, Mapping) else list(found.values())
    return value


def free_arguments(node: Mapping) -> set[str]:
    """Arguments of a component that may change when a run goes on: their annotation says `FREE`."""
    if not is_component(node):
        return set()
    try:
        target = resolve(node["name"], "configuration")
    except ConfigError:  # of a run whose package is not here any more
        return set()
    return {key for key, parameter in parameters(target).items() if FREE in get_args(parameter.annotation)}


def is_component(value: Any) -> bool:
    """Whether a value has the form of a component."""
    return isinstance(value, Mapping) and isinstance(value.get("name"), str) and "." in value["name"]


def build(node: Mapping, **provided: Any) -> Any:
    """Builds a checked component; nested components are built first.

    Raises:
        ConfigError: the constructor rejects its arguments.
    """
    return _build(node, roles.COMPONENTS, provided)


def _build(node: Mapping, wanted: Sequence[Role], provided: Mapping[str, Any]) -> Any:
    target = _resolve(node["name"], node["name"], wanted)
    known = parameters(target)
    arguments = {}
    for key, value in node.items():
        if key != "name":
            if is_foreign(target) and (why := foreign_argument(key, value)):
                raise ConfigError(f"{node['name']}: {key}: {why}")
            annotation = known[key].annotation if key in known else inspect.Parameter.empty
            arguments[key] = _built(value, annotation)
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


def _built(value: Any, annotation: Any) -> Any:
    """An argument as the component takes it: what `_value_mistakes` found to be a component is built."""
    wanted = roles_in(annotation)
    if wanted and is_component(value):
        return _build(value, wanted, {})
    if (inner := items_inside(value, annotation)) is not None:
        built = {key: _built(item, each) for key, item, each in inner}
        return built if isinstance(value, Mapping) else list(built.values())
    if annotation is inspect.Parameter.empty or (wanted and value is None):
        return value
    return convert(value, annotation)
