"""From YAML files over `_base_`, and `-o` overrides, to one checked configuration."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ppcore.config import components, roles
from ppcore.config.explain import explain
from ppcore.config.merging import STEPS, over, settle
from ppcore.config.read_only import read_only
from ppcore.config.schema import Config, InferSection
from ppcore.config.section import Component, holds_steps, role_of, section_of
from ppcore.errors import ConfigError, raise_all


def load(path: str | Path | Sequence[str | Path], overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file with its bases, or several over each other, applies overrides and checks every key.

    Args:
        path: the YAML file; of several, each over those before it.
        overrides: `Section.key=value` texts; the first `=` splits, the value is YAML.

    Raises:
        ConfigError: one line for each mistake with the file, the key path and, for a misspelling, the nearest key.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    where = " + ".join(map(str, paths))
    merged = _default_components()
    for file, layer in (pair for one in paths for pair in _layers(one)):
        merged = over(merged, layer, str(file))
    tree, wrong = OmegaConf.create(merged), []
    for text in overrides:
        try:
            _override(tree, text)
        except ConfigError as error:
            wrong.append(str(error))
    try:
        plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise_all([*wrong, f"{where}: {_first_line(error)}"])
    config = check(plain, where, [*wrong, *settle(plain, where)])
    config._paths = tuple(map(str, paths))
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


def infer_section(overrides: Sequence[str], images: Sequence[str] = ()) -> InferSection:
    """The section `Infer` of a tool that has no configuration.

    Args:
        overrides: `Infer.key=value` texts.
        images: files, folders and globs, its `input` where there are some.

    Raises:
        ConfigError: one line for each mistake.
    """
    tree = parse_overrides(overrides)
    if strangers := sorted(tree.keys() - {"Infer"}):
        raise ConfigError(
            f"-o {strangers[0]}: without a configuration there is the section Infer only: Infer.key=value"
        )
    section = tree.get("Infer") or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"-o Infer={section}: Infer is a section; write it as Infer.key=value")
    mine = {**section, **({"input": list(images)} if images else {})}
    try:
        return InferSection.model_validate(mine)
    except ValidationError as error:
        raise_all([f"-o Infer.{line}" for line in explain(error, mine, InferSection)])


def _layers(path: Path, seen: tuple[Path, ...] = ()) -> list[tuple[Path, dict[str, Any]]]:
    """(file, its own tree) of a file and of all its bases, each over those before it."""
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
    tree = OmegaConf.to_container(tree, resolve=False)
    bases = tree.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: _base_ is a file name or a list of file names, got {bases!r}")
    below = [layer for base in bases for layer in _layers(path.parent / base, (*seen, path.resolve()))]
    return [*below, (path, tree)]


def _override(tree: Any, text: str) -> None:
    key, found, value = text.partition("=")
    key, text = key.strip(), " ".join(text.split())
    if not found or not all(part.isidentifier() or part.isdigit() for part in key.split(".")):
        raise ConfigError(f"-o {text}: write it as Section.key=value")
    try:
        parsed = OmegaConf.from_dotlist([f"value={value}"])._get_node("value")
        holder, _, last = key.rpartition(".")
        if parsed is None or parsed._is_none():
            steps = OmegaConf.select(tree, holder) if holder.rpartition(".")[2] in STEPS else None
            if OmegaConf.is_dict(steps) and last not in steps:
                raise ConfigError(f"-o {text}: no step '{last}' to leave out; steps: {', '.join(steps)}")
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
        found += [f"{where}: {line}" for line in explain(error, tree, Config)]
    for path, node, role, beside in _components_in(tree):
        found += components.mistakes(node, f"{where}: {path}", role, beside=beside)
    raise_all(found)
    config._tree = read_only(tree)
    for number, item in enumerate(config.Networks):
        if item.set:
            for_network(config, number, where)
    return config


def for_network(config: Config, number: int, where: str = "configuration") -> Config:
    """The configuration that a network of `Networks` is evaluated by: `Arch` is the network, and its `set` is over the rest.

    Args:
        config: the whole configuration.
        number: of the network in `Networks`.
        where: what to call the configuration in messages.

    Raises:
        ConfigError: one line for each mistake in `set`.
    """
    item, at = config.Networks[number], f"{where}: Networks.{number}.set"
    left_out = {"Baselines", "Networks"}
    tree = OmegaConf.create(deepcopy({key: value for key, value in config.tree.items() if key not in left_out}))
    tree["Arch"] = deepcopy(item.arch)
    for key, value in item.set.items():
        if not (key == "Metric" or key.startswith(("DataLoader.Eval.", "Metric."))):
            raise ConfigError(
                f"{at}: {key} is no key of DataLoader.Eval or Metric: it would be the same for all networks"
            )
        try:
            OmegaConf.update(tree, key, deepcopy(value), merge=False)
        except (OmegaConfBaseException, AttributeError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"{at}: {key}: {_first_line(error)}") from error
    own = check(OmegaConf.to_container(tree), at)
    own._paths = config.paths
    return own


def _components_in(
    tree: Any, section: type[BaseModel] = Config, path: str = ""
) -> Iterator[tuple[str, Mapping, roles.Role, Collection[str]]]:
    """(key path, mapping, role, keys that stand beside its own) of each component; what is no mapping is left out."""
    for key, field in section.model_fields.items():
        node, at = tree.get(key) if isinstance(tree, Mapping) else None, f"{path}{key}"
        inner, role = section_of(field.annotation), role_of(field)
        fields = inner.model_fields if inner else {}
        for where, item in _each(node, at, field, fields) if role or inner else ():
            if role is not None and isinstance(item, Mapping):
                # A section that is a component itself has keys of its own beside the component's.
                own = {name: value for name, value in item.items() if name == "name" or name not in fields}
                if not fields or "name" in own:
                    yield where, own, role, fields.keys()
            if inner is not None:
                yield from _components_in(item, inner, f"{where}.")


def _each(node: Any, at: str, field: FieldInfo, fields: Collection[str]) -> list[tuple[str, Any]]:
    """(key path, item) of the one, the list, the mapping of steps, or the sections by name that a key holds."""
    if isinstance(node, list):
        takes = list in map(get_origin, (field.annotation, *get_args(field.annotation)))
        return [(f"{at}.{i}", item) for i, item in enumerate(node)] if takes else []
    if holds_steps(field):
        return [(f"{at}.{step}", item) for step, item in node.items()] if isinstance(node, Mapping) else []
    if fields and isinstance(node, Mapping) and node and not {"name", *fields} & node.keys():
        return [(f"{at}.{name}", item) for name, item in node.items()]
    return [(at, node)]
