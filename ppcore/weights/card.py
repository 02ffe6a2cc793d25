"""Model cards: README.md with the metadata block that Hugging Face reads, and the same as JSON.

A folder gets README.md and card.json, a file `vit.safetensors` vit.card.md and vit.card.json beside it (where these are the card of
vit.npz, vit.safetensors.card.md and so on). A card that somebody else has written, or edited, is never overwritten.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ppcore.errors import OutputError, reason
from ppcore.io import sha256, write_atomically
from ppcore.weights.provenance import Provenance, shown

VERSION = 1
README, JSON = "README.md", "card.json"
# Identifiers that Hugging Face knows, of the licences weights usually have; any other text is `other` with its name.
_LICENCES = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0",
    "openrail", "unlicense", "wtfpl", "isc", "artistic-2.0", "unknown", "other",
}  # fmt: skip


@dataclass(frozen=True)
class Loader:
    """How to load what a card describes.

    Attributes:
        framework: with what.
        code: Python, run where the folder or file lies.
    """

    framework: str
    code: str


def card_paths(target: str | os.PathLike) -> tuple[Path, Path]:
    """The card of a folder or file: Markdown, JSON."""
    target = Path(target)
    if target.is_dir():
        return target / README, target / JSON
    described = _json(target.with_name(f"{target.stem}.card.json")).get("files")
    others = set(described) - {target.name} if isinstance(described, dict) else ()
    name = target.name if any(target.with_name(other).exists() for other in others) else target.stem
    return target.with_name(f"{name}.card.md"), target.with_name(f"{name}.card.json")


def check_card(target: str | os.PathLike) -> None:
    """Checks that a card may be written: there is none, or the one that is there is ours as we wrote it.

    Raises:
        OutputError: there is somebody else's, or an edited one.
    """
    text, content = card_paths(target)
    if content.exists() or text.exists():
        known = _json(content).get("card")
        if not text.is_file() or known != sha256(text):
            raise OutputError(
                f"{text if text.exists() else content}: is not a card as this suite wrote it: move it away, or choose another output"
            )


def write_card(
    target: str | os.PathLike,
    provenance: Provenance,
    loaders: Sequence[Loader] = (),
    *,
    title: str | None = None,
    library: str | None = None,
) -> tuple[Path, Path]:
    """Writes the card of a folder or a file.

    Args:
        target: a folder with weights or an exported model, or a weight file; it is there already.
        provenance: what is known.
        loaders: how to load it; each must work where the target lies.
        title: heading; by default the target's name.
        library: Hugging Face's name of the library that reads it.

    Returns:
        The Markdown file and the JSON file.

    Raises:
        OutputError: there is another card, or it cannot be written.
    """
    target = Path(target)
    check_card(target)
    text, content = card_paths(target)
    title = title or target.name
    try:
        kept = {text.name, content.name}
        paths = [path for path in sorted(target.rglob("*")) if path.is_file()] if target.is_dir() else [target]
        files = {
            (path.relative_to(target).as_posix() if target.is_dir() else path.name): {
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
            }
            for path in paths
            if path.name not in kept
        }
    except OSError as error:
        raise OutputError(f"{target}: cannot be read: {reason(error)}") from error
    markdown = card_text(title, provenance, loaders, files, library)
    write_atomically(text, lambda temp: temp.write_text(markdown, encoding="utf-8"))
    whole = {
        "version": VERSION,
        "title": title,
        "provenance": provenance.to_json(),
        "loaders": [asdict(loader) for loader in loaders],
        "files": files,
        "card": sha256(text),
    }
    as_json = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    write_atomically(content, lambda temp: temp.write_text(as_json, encoding="utf-8"))
    return text, content


def card_text(
    title: str, known: Provenance, loaders: Sequence[Loader], files: Mapping[str, Any], library: str | None = None
) -> str:
    """The card as Markdown.

    Args:
        title: heading.
        known: what is known.
        loaders: how to load it.
        files: `bytes` and `sha256` by name.
        library: as for `write_card`.
    """
    front = yaml.safe_dump(front_matter(title, known, library), sort_keys=False, allow_unicode=True)
    arguments = {key: value for key, value in (known.architecture or {}).items() if key != "name"}
    facts = {
        "architecture": (known.architecture or {}).get("name"),
        "arguments": ", ".join(f"{key}={shown(value)}" for key, value in arguments.items()) or "its defaults",
        "parameters": None if known.parameters is None else f"{known.parameters:,}",
        "licence": known.licence,
        "origin": known.origin,
        "weights read from": known.file,
        "sha256 of that file": known.sha256,
        "its layout": known.layout,
        "trained on from": known.started_from,
        "changed since": "; ".join(known.changes) or "nothing",
        "classes": _classes(known.classes),
    }
    parts = [f"---\n{front}---", f"# {title}", _table(facts)]
    if loaders:
        parts += ["## Loading", *(f"{one.framework}:\n\n{_fenced(one.code, 'python')}" for one in loaders)]
    parts += ["## Measured", _measured(known.metrics)]
    parts += ["## Training", _table({"data": (known.training_data or {}).get("dataset"),
                                     "images": (known.training_data or {}).get("images"), **(known.run or {"run": None})})]  # fmt: skip
    parts += ["## Preprocessing", _fenced(_yaml(known.preprocessing), "yaml")]
    parts += [
        "## Files",
        _table({name: f"{one['bytes']:,} bytes, sha256 {one['sha256']}" for name, one in files.items()}),
    ]
    parts += ["## Configuration", _fenced(known.config.strip() if known.config else shown(None), "yaml")]
    return "\n\n".join(parts) + "\n"


def front_matter(title: str, known: Provenance, library: str | None = None) -> dict[str, Any]:
    """The metadata block that Hugging Face reads."""
    found: dict[str, Any] = {}
    if known.licence is not None:
        name = known.licence.strip()
        usual = name.lower() in _LICENCES
        found |= {"license": name.lower()} if usual else {"license": "other", "license_name": name}
    if library is not None:
        found["library_name"] = library
    found["tags"] = [tag for tag in ("vision", known.task, "paddlepaddle") if tag]
    data = (known.training_data or {}).get("dataset")
    if data:
        found["datasets"] = [_called(data)]
    if known.task is not None:
        found["pipeline_tag"] = known.task
    if known.metrics:
        first = known.metrics[0]
        metrics = [
            {"type": one["key"], "name": f"{one['name']} {one['unit']}".strip(), "value": round(one["value"], 6)}
            for one in known.metrics
        ]
        dataset = {"type": (first["data"] or "").partition("(")[0].lower() or "unknown", "name": shown(first["data"])}
        task = {"type": known.task or "other"}
        found["model-index"] = [{"name": title, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]
    return found


def _called(component: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in component.items() if key != "name")
    return f"{str(component.get('name')).rpartition('.')[2]}({arguments})"


def _classes(names: Sequence[str] | None) -> str | None:
    if names is None:
        return None
    some = ", ".join(names[:10])
    return f"{len(names)}: {some}{', …' if len(names) > 10 else ''}"


def _measured(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return "Not stated: no measurement of exactly these weights is on record."
    rows = [
        f"| {_cell(one['name'])} | {one['value']:.{one['digits']}f} {one['unit']} | {one['n']:,} | {_cell(one['data'])} |"
        for one in metrics
    ]
    head = "| what | value | images | data |\n|---|---|---|---|"
    return "\n".join([head, *rows]) + f"\n\nProtocol: {shown(metrics[0]['protocol'])}."


def _table(facts: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_cell(key)} | {_cell(value)} |" for key, value in facts.items())])


def _cell(value: Any) -> str:
    """A value in a cell: no line end, no bar, no markup of its own."""
    return re.sub(r"([\\|<`*_\[\]])", r"\\\1", " ".join(shown(value).split()))


def _yaml(value: Any) -> str:
    return shown(None) if value is None else yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()


def _fenced(text: str, language: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # no card of ours
        return {}
    return content if isinstance(content, dict) else {}
