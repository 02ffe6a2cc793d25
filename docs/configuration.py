"""Writes docs/configuration.md, every section and key of a configuration, from the sections themselves.

python docs/configuration.py
"""

import inspect
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ppcore.config import Config, roles
from ppcore.config.catalogue import KINDS, type_text, value_text
from ppcore.config.paddleclas_keys import KEYS, NAMES
from ppcore.config.section import Section, holds_steps, role_of, section_of

_TOP = """# Configuration

Every section and key. Written by `python docs/configuration.py` from `ppcore/config/schema.py`: change it there.

A configuration is a YAML file, over others that `_base_` names (mappings merge, lists are replaced but for `Networks`), or several (`-c A -c B`:
each over those before it), changed on the command line by `-o Section.key=value` (several values after one `-o`, or several `-o`). Every mistake is said at once, one line each.
`--print-config` prints what a configuration amounts to, with every default; a run keeps its own as `config.yaml`, and
`-c RUN/config.yaml` reads it again.

A **component** is a mapping with the `name` of a class or builder and its arguments: `{name: ppcore.losses.CrossEntropy,
label_smoothing: 0.1}`. Names, arguments and defaults: `python tools/list.py KIND`, where KIND is one of KINDS.

A section names components of its own role only, of the suite, of packages installed with an entry point of the group
`ppcore.papers`, and of those that `--allow PACKAGE` adds on the command line. A component inside another is checked against
the annotation of the argument it fills. `ppcore/config/roles.py` says what a class must have to play a role: a network is a
`paddle.nn.Layer` (or a function annotated to return one), a criterion is called with `(outputs, batch)`, a transform with
`(image, rng)`, a batch transform with `(batch, rng)`; a dataset has `__len__()` and `load(index)` and
derives from `ppcore.data.Dataset`, a schedule has `bind(plan)`, a metric `update(outputs, batch)`, `compute()`, `specs` and
`primary_metric`; an optimizer takes `parameters`, `decayed` and `weight_decay`.

A package of your own needs no registration: with `mynets/__init__.py` in a folder `work`, in which `Net` is a network,

```
PYTHONPATH=work python tools/train.py -c FILE --allow mynets -o Arch.name=mynets.Net
```

Only the command line can allow a package, so every tool that reads the run's configuration needs `--allow`, too. An
installed package needs none where its `setup.py` has `entry_points={"ppcore.papers": ["mynets = mynets"]}`.

`transforms` and `batch_transforms` are mappings of named **steps**, whose order is the order of work. The names are yours:
`transforms: {crop: {name: ppcore.data.CenterCrop, size: 224}, normalize: {name: …}}`. A file over another, and `-o`, changes a
step under its name (`-o DataLoader.Eval.transforms.crop.size=192`), puts a component of another name in its place, leaves it
out (`erase: null`), or adds one: last, or before the step it names (`jitter: {name: ppcore.data.ColorJitter, brightness: 0.3,
before: normalize}`). An empty mapping, `{}`, removes all steps.

A **duration** is one of `{epochs: 1.5}`, `{steps: 100}`, `{examples: 51200}`.
"""


def markdown() -> str:
    """The page."""
    parts = [_TOP.replace("KINDS", ", ".join([*KINDS, "layouts"]))]
    for section, paths in _sections().items():
        about = "" if section is Config else inspect.cleandoc(section.__doc__ or "")
        parts += [f"## {', '.join(paths)}\n", *([f"{about}\n"] if about else [])]
        parts.append(
            _table(("key", "type", "default", "meaning"), [_row(*item) for item in section.model_fields.items()])
        )
    parts += ["## Coming from PaddleClas\n", "The sections carry PaddleClas's names. What is called otherwise:\n"]
    rows = [(f"`{key}`", text) for key, text in KEYS.items()] + [(f"`name: {k}`", f"`{v}`") for k, v in NAMES.items()]
    return "\n".join([*parts, _table(("PaddleClas", "here"), rows)])


def _sections() -> dict[type[Section], list[str]]:
    """Every section with its key paths, in the order of the file."""
    found: dict[type[Section], list[str]] = {Config: ["Sections"]}

    def walk(section: type[Section], path: str) -> None:
        for key, field in section.model_fields.items():
            if (inner := section_of(field.annotation)) is not None:
                found.setdefault(inner, []).append(f"{path}{key}")
                walk(inner, f"{path}{key}.")

    walk(Config, "")
    return found


def _row(key: str, field: FieldInfo) -> tuple[str, ...]:
    required = field.is_required()
    default = "required" if required else f"`{value_text(field.get_default(call_default_factory=True))}`"
    return f"`{key}`", _type(field), default.replace("`its defaults`", "its defaults"), field.description or ""


def _type(field: FieldInfo) -> str:
    role, inner = role_of(field), section_of(field.annotation)
    text = type_text(field.annotation)
    if inner is not None:
        text = "section" + (" | null" if "null" in text.split(" | ") else "")
    if role is not None:
        component = f"component ({role.what.partition(' ')[2]})"
        if inner is not None:
            return f"{text}, {component}"
        kind = "mapping to " if holds_steps(field) else "list of " if text.startswith("list") else ""
        text = f"{kind}{component}" + (" | null" if "null" in text else "")
    return ", ".join([text, *_limits(field)])


def _limits(field: FieldInfo) -> list[str]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}
    found = (
        (sign, getattr(item, name, None))
        for item in field.metadata
        for name, sign in signs.items()
        if not isinstance(item, roles.Role)
    )
    return [f"{sign} {value:g}" for sign, value in found if value is not None]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join(
            "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in row) + " |" for row in lines
        )
        + "\n"
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(markdown(), encoding="utf-8")
