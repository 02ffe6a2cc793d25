"""From YAML files over `_base_`, and `-o` overrides, to one checked configuration."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from ppcore.config import components, roles
from ppcore.config.durations import Duration
from ppcore.config.explain import explain
from ppcore.config.read_only import read_only
from ppcore.config.schema import Component, Config, role_of, section_of
from ppcore.errors import ConfigError, raise_all


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file with its bases, applies overrides and checks every key.

    Args:
        path: the YAML file.
        overrides: `Section.key=value` texts; the first `=` splits, the value is YAML.

    Raises:
        ConfigError: one line for each mistake with the file, the key path and, for a misspelling, the nearest key.
    """
    tree = _over(OmegaConf.create(_default_components()), merge(Path(path), seen=()))
    wrong = []
    for text in overrides:
        try:
            _override(tree, text)
        except ConfigError as error:
            wrong.append(str(error))
    try:
        plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise_all([*wrong, f"{path}: {_first_line(error)}"])
    config = check(plain, str(path), wrong)
    config._path = str(path)
    return config


def _default_components() -> dict[str, Component]:
    """The components a configuration has without naming them, so that one argument of them can be changed."""
    fields = Config.model_fields.items()
    return {key: field.default for key, field in fields if components.is_component(field.default)}


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """The mapping that `key=value` texts describe, values read as YAML.

    Raises:
        ConfigError: a text is not of that form.
    """
    tree = OmegaConf.create({})
    for text in texts:
        _override(tree, text)
    return OmegaConf.to_container(tree, resolve=True)


def merge(path: Path, seen: tuple[Path, ...]) -> Any:
    """The file's tree merged over its `_base_` files (mappings merge, lists are replaced)."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: _base_ leads back to this file")
    try:
        tree = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(tree):
        raise ConfigError(f"{path}: a configuration is a mapping of sections")
    bases = tree.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, Sequence) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: _base_ is a file name or a list of file names, got {bases!r}")
    layers = [merge(path.parent / base, (*seen, path.resolve())) for base in bases]
    merged = OmegaConf.create({})
    for layer in [*layers, tree]:
        merged = _over(merged, layer)
    return merged


def _over(below: Any, above: Any) -> Any:
    """`above` merged over `below`; a duration, or a component of another name, replaces the one below it."""
    out = deepcopy(below)
    for key, value in above.items_ex(resolve=False):
        old = out._get_node(key)
        mergeable = OmegaConf.is_dict(old) and OmegaConf.is_dict(value) and not set(value) <= set(Duration.model_fields)
        if mergeable and len({value.get("name"), old.get("name")} - {None}) < 2:
            out[key] = _over(old, value)
        else:
            out[key] = deepcopy(value)
    return out


def _override(tree: Any, text: str) -> None:
    key, found, value = text.partition("=")
    key, text = key.strip(), " ".join(text.split())
    if not found or not all(part.isidentifier() or part.isdigit() for part in key.split(".")):
        raise ConfigError(f"-o {text}: write it as Section.key=value")
    try:
        parsed = OmegaConf.from_dotlist([f"value={value}"])._get_node("value")
        OmegaConf.update(tree, key, parsed, merge=False)
    except (OmegaConfBaseException, yaml.YAMLError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"-o {text}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check(tree: dict[str, Any], where: str = "configuration", wrong: Sequence[str] = ()) -> Config:
    """Checks a resolved mapping: sections, keys, types, and every component's arguments.

    Args:
        tree: the mapping.
        where: what to call it in messages.
        wrong: mistakes found before, reported with the others.

    Raises:
        ConfigError: one line for each mistake.
    """
    found = list(wrong)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        found += [f"{where}: {line}" for line in explain(error, tree)]
    for path, node, role, beside in _components_in(tree):
        found += components.mistakes(node, f"{where}: {path}", role, beside=beside)
    raise_all(found)
    config._tree = read_only(tree)
    return config


def _components_in(
    tree: Any, section: type[BaseModel] = Config, path: str = ""
) -> Iterator[tuple[str, Mapping, roles.Role, Collection[str]]]:
    """(key path, mapping, role, keys that stand beside its own) of each component; what is no mapping is left out."""
    for key, field in section.model_fields.items():
        node, at = tree.get(key) if isinstance(tree, Mapping) else None, f"{path}{key}"
        inner, role = section_of(field.annotation), role_of(field)
        fields = inner.model_fields if inner else {}
        for where, item in _each(node, at, fields) if role or inner else ():
            if role is not None and isinstance(item, Mapping):
                # A section that is a component itself has keys of its own beside the component's.
                own = {name: value for name, value in item.items() if name == "name" or name not in fields}
                if not fields or "name" in own:
                    yield where, own, role, fields.keys()
            if inner is not None:
                yield from _components_in(item, inner, f"{where}.")


def _each(node: Any, at: str, fields: Collection[str]) -> Iterator[tuple[str, Any]]:
    """(key path, item) of a list, of sections by name, or of a single one."""
    if isinstance(node, list):
        yield from ((f"{at}.{i}", item) for i, item in enumerate(node))
    elif fields and isinstance(node, Mapping) and node and not {"name", *fields} & node.keys():
        yield from ((f"{at}.{name}", item) for name, item in node.items())
    else:
        yield at, node
