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
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError

from ppcore.config import roles
from ppcore.config.explain import explain
from ppcore.config.foreign import foreign_argument, is_foreign
from ppcore.config.nesting import form, items_inside, members, plain_members, roles_in, wrong_keys
from ppcore.config.paddleclas_keys import answer, answer_name
from ppcore.config.roles import Role, inside
from ppcore.config.signatures import convert, open_ended, own_parameters, parameters
from ppcore.errors import ConfigError, nearest, raise_all

# `Annotated[type, FREE]`: an argument that changes how fast or where something is done, not what is computed.
FREE = "free when a run goes on"


def resolve(name: Any, where: str, *wanted: Role) -> Callable:
    """Returns the class or function a dotted path names.

    Args:
        name: the dotted path.
        where: `file: key path`, for messages.
        wanted: what it may be; by default any role of a configuration's components.

    Raises:
        ConfigError: not a dotted path, not a public component, or none of these roles.
    """
    allowed = wanted or roles.COMPONENTS
    target = _find(name, where, allowed)
    is_protocol = getattr(target, "_is_protocol", False)
    if is_protocol or not any(_is_from(name, target, one) and one.plays(target) for one in allowed):
        misfits = " or ".join(f"is not {one.what}: it needs {one.needs}" for one in wanted)
        raise ConfigError(f"{where}: '{name}' {misfits or 'is nothing that a configuration may name'}")
    return target


def plays(node: Any, role: Role) -> bool:
    """Whether a value is a component of this role; one of no role, such as a part of another, plays none."""
    if not is_component(node):
        return False
    try:
        return role.plays(resolve(node["name"], "", role))
    except ConfigError:
        return False


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


def check(node: Any, where: str, *wanted: Role) -> None:
    """Checks a component's name, argument names and argument types without building it.

    Args:
        node: the mapping from the configuration.
        where: `file: key path`, for messages.
        wanted: what it may be; by default any role.

    Raises:
        ConfigError: one line for each mistake, with the key path and the nearest match.
    """
    raise_all(mistakes(node, where, *wanted))


def mistakes(node: Any, where: str, *wanted: Role, beside: Iterable[str] = ()) -> list[str]:
    """What `check` complains of, one line each; `beside` are keys that stand beside the component's own, for the nearest match."""
    if not isinstance(node, Mapping) or "name" not in node:
        return [f"{where}: expected a mapping with a 'name', got {node!r}", *_paddleclas_keys(node, where)]
    try:
        target = resolve(node["name"], where, *wanted)
    except ConfigError as error:
        return [str(error), *_paddleclas_keys(node, where)]
    provided = _provided(target, wanted)
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


def _provided(target: Callable, wanted: Sequence[Role]) -> set[str]:
    """Arguments that the program gives itself."""
    return {key for one in wanted or roles.COMPONENTS if one.plays(target) for key in one.provided}


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
        return mistakes(value, where, *wanted)
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
        at = _key_path(where)
        return [f"{where.removesuffix(at)}{line}" for line in explain(error, value, annotation, at)]
    return []


def _has_component(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_component(value) or any(map(_has_component, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_component, value))


def with_defaults(node: Mapping, *wanted: Role) -> dict[str, Any]:
    """A checked component with the arguments that it leaves to its own defaults, nested components too.

    What a builder hands on to a class is left out: the class's defaults need not be the builder's.
    """
    target = resolve(node["name"], node["name"], *wanted)
    known, found = parameters(target), dict(node)
    for key in node.keys() & known.keys():
        found[key] = _mapped(node[key], known[key].annotation, with_defaults, lambda value, annotation: value)
    for key in own_parameters(target).keys() - node.keys() - _provided(target, wanted):
        default, annotation = known[key].default, known[key].annotation
        if default is not inspect.Parameter.empty and not _value_mistakes(default, annotation, key):
            found[key] = default
    return {key: found[key] for key in ["name", *node, *known] if key in found}


def _mapped(value: Any, annotation: Any, component: Callable, data: Callable) -> Any:
    """An argument with `component(node, *roles)` in place of each component that its annotation has a place for, and
    `data(value, annotation)` in place of everything else."""
    wanted = roles_in(annotation)
    if wanted and is_component(value):
        return component(value, *wanted)
    if (inner := items_inside(value, annotation)) is not None:
        found = {key: _mapped(item, each, component, data) for key, item, each in inner}
        return found if isinstance(value, Mapping) else list(found.values())
    return data(value, annotation)


def free_arguments(node: Mapping) -> set[str]:
    """Arguments of a component that may change when a run goes on: their annotation says `FREE`."""
    if not is_component(node):
        return set()
    try:
        target = _find(node["name"], "configuration", roles.COMPONENTS)  # of whatever role: a teacher, too
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
    return _build(node, provided=provided)


def _build(node: Mapping, *wanted: Role, provided: Mapping[str, Any] = MappingProxyType({})) -> Any:
    def inner(value: Mapping, *roles_there: Role) -> Any:
        """A criterion inside a criterion is given the run, too."""
        given = {key: provided[key] for role in roles_there for key in role.provided if key in provided}
        return _build(value, *roles_there, provided=given)

    target = resolve(node["name"], node["name"], *wanted)
    known = parameters(target)
    arguments = {}
    for key, value in node.items():
        if key != "name":
            if is_foreign(target) and (why := foreign_argument(key, value)):
                raise ConfigError(f"{node['name']}: {key}: {why}")
            annotation = known[key].annotation if key in known else inspect.Parameter.empty
            arguments[key] = _mapped(value, annotation, inner, _converted)
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


def _converted(value: Any, annotation: Any) -> Any:
    unchecked = annotation is inspect.Parameter.empty or (value is None and roles_in(annotation))
    return value if unchecked else convert(value, annotation)
