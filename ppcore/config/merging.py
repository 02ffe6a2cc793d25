"""One configuration tree over another, and the order of named steps.

`transforms` and `batch_transforms` are mappings of named steps; their order is the order of work. A file over others
changes a step under its name, puts another component in its place, leaves it out (`null`), or adds one: last, or before
the step that its `before` names. The rows of `Networks` add up, too.
"""

from collections.abc import Iterator
from typing import Any

from ppcore.config.durations import Duration
from ppcore.errors import ConfigError, nearest

STEPS = ("transforms", "batch_transforms")


def over(below: dict[str, Any], above: dict[str, Any], where: str, path: str = "") -> dict[str, Any]:
    """`above` merged over `below`, as a new tree: mappings merge; a list, a duration, or a component of another name
    replaces the one below it, and so does an empty mapping. Rows of `Networks` follow those below.

    Args:
        below: the tree below.
        above: the tree over it.
        where: the file `above` came from, for messages.
        path: the key path of both.

    Raises:
        ConfigError: a step to leave out, or to stand before, that is not there.
    """
    out = dict(below)
    steps = path.rpartition(".")[2] in STEPS
    for key, value in above.items():
        old, at = out.get(key), f"{path}.{key}" if path else str(key)
        if steps and value is None and key not in out:
            raise ConfigError(f"{where}: {at}: no step '{key}' to leave out{_nearest(key, out)}")
        if isinstance(value, dict):
            out[key] = over(old if isinstance(old, dict) and _merges(old, value) else {}, value, where, at)
        elif at == "Networks" and isinstance(old, list) and isinstance(value, list):
            out[key] = _rows(old, value)
        else:
            out[key] = value
    return _ordered(out, f"{where}: {path}") if steps else out


def _rows(below: list[Any], above: list[Any]) -> list[Any]:
    """Rows after those below them, without those whose `method` they take over."""
    named = [row.get("method") for row in above if isinstance(row, dict)]
    return [row for row in below if not isinstance(row, dict) or row.get("method") not in named] + above


def _merges(old: dict[str, Any], value: dict[str, Any]) -> bool:
    return not set(value) <= set(Duration.model_fields) and len({value.get("name"), old.get("name")} - {None}) < 2


def settle(tree: dict[str, Any], where: str) -> list[str]:
    """Brings the steps of a merged tree into their order, in place, without those that are left out.

    Args:
        tree: the tree, every value of it resolved.
        where: the file, for messages.

    Returns:
        What is wrong, one line each; a step that is wrong is gone from the tree.
    """
    found = []
    for holder, key, path in list(_steps_in(tree)):
        steps = {step: node for step, node in holder[key].items() if node is not None}
        for step, node in list(steps.items()):
            if isinstance(node, dict) and "name" not in node:
                del steps[step]
                hint = _nearest(step, steps)
                found.append(f"{where}: {path}.{step}: no step '{step}' to change, and a new one needs a 'name'{hint}")
        try:
            holder[key] = _ordered(steps, f"{where}: {path}")
        except ConfigError as error:
            found.append(str(error))
    return found


def _steps_in(node: Any, path: str = "") -> Iterator[tuple[dict, str, str]]:
    """(mapping, key, key path) of every mapping of steps, the inner ones first."""
    for key, value in node.items() if isinstance(node, dict) else ():
        at = f"{path}.{key}" if path else str(key)
        yield from _steps_in(value, at)
        if key in STEPS and isinstance(value, dict):
            yield node, key, at


def _ordered(steps: dict[str, Any], where: str) -> dict[str, Any]:
    """The steps, each that has a `before` moved there and rid of it."""
    waiting = {step: node["before"] for step, node in steps.items() if isinstance(node, dict) and "before" in node}
    order = [step for step in steps if step not in waiting]
    while waiting:
        # A step may stand before another that is moved, too.
        step = next((step for step, target in waiting.items() if target in order), None)
        if step is None:
            step, target = next(iter(waiting.items()))
            raise ConfigError(f"{where}.{step}.before: no step '{target}' to stand before{_nearest(target, order)}")
        order.insert(order.index(waiting.pop(step)), step)
    bare = {
        step: {k: v for k, v in node.items() if k != "before"} for step, node in steps.items() if isinstance(node, dict)
    }
    return {step: bare.get(step, steps[step]) for step in order}


def _nearest(step: Any, steps: Any) -> str:
    return nearest(str(step), steps) or (f"; steps: {', '.join(steps)}" if steps else "; there are none")
