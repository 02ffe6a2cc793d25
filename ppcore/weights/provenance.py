"""Where weights come from: all that a model card, a manifest or the metadata of a weight file says of them.

What is not known is None (or an empty list) and is shown as "not stated"; nothing is guessed. A weight file carries the
part that belongs to it (licence, origin, what it was trained on from) in its .safetensors metadata, from file to file.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ppcore.io import sha256
from ppcore.weights.files import metadata

NOT_STATED = "not stated"
# Entries of the metadata of a .safetensors file.
LICENCE, ORIGIN, STARTED_FROM = "licence", "origin", "started_from"


@dataclass(frozen=True)
class Start:
    """The weights that a training began with, as they were then.

    Attributes:
        file: name of the file.
        sha256: of the file.
        licence: of those weights.
        origin: where they come from.
        layout: naming convention of the file.
        started_from: what they in turn were trained on from, the same as a mapping.
    """

    file: str
    sha256: str
    licence: str | None = None
    origin: str | None = None
    layout: str | None = None
    started_from: dict[str, Any] | None = None


@dataclass(frozen=True)
class Provenance:
    """Everything that is known of some weights; all of it can be written as JSON.

    Attributes:
        file: name of the weight file that was read; None for a model without weights.
        sha256: of that file.
        layout: naming convention of that file, where it is not the suite's own.
        licence: of the weights, an identifier (`apache-2.0`) or text.
        origin: where the weights come from: an address, a paper, a person.
        started_from: the weights that their training began with (`Start` as a mapping); None when there were none, or
            when nothing is known of a training.
        changes: what was changed on the way here in the weights (a classifier initialised afresh, a position embedding resampled),
            in the network or in how images are prepared, in words; the run's metrics are then not of these.
        task: `image-classification` or `image-to-image`.
        architecture: `name`, the builder, and its arguments, as in the section `Arch`.
        parameters: how many numbers the network has that train.
        classes: names of the classes in the order of the outputs.
        preprocessing: `DataLoader.Eval.transforms`, the named steps with every argument.
        config: the resolved configuration as YAML text: the run's, where the weights are a run's.
        run: how they were trained: name of the run, step, seconds, commit, versions, …; None for a file by itself.
        training_data: `dataset` (the component), `images`, `transforms` (named steps); None as for `run`.
        metrics: what the run measured of exactly these weights: mappings of `key`, `name`, `value`, `unit`, `digits`, `protocol`,
            `data`, `n` (images).
        suite: version of the suite that wrote this.
    """

    file: str | None = None
    sha256: str | None = None
    layout: str | None = None
    licence: str | None = None
    origin: str | None = None
    started_from: dict[str, Any] | None = None
    changes: list[str] = field(default_factory=list)
    task: str | None = None
    architecture: dict[str, Any] | None = None
    parameters: int | None = None
    classes: list[str] | None = None
    preprocessing: dict[str, Any] | None = None
    config: str | None = None
    run: dict[str, Any] | None = None
    training_data: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    suite: str | None = None

    def changed(self, notes: Sequence[str]) -> "Provenance":
        """The same after changes that make something else of it, in words: the metrics no longer hold."""
        return replace(self, changes=[*self.changes, *notes], metrics=[]) if notes else self

    def to_json(self) -> dict[str, Any]:
        """The fields as a mapping that `json.dumps` takes."""
        return asdict(self)

    def file_metadata(self) -> dict[str, str]:
        """What a .safetensors file written from these weights says of them: texts by key, unknown ones left out."""
        start = None if self.started_from is None else json.dumps(self.started_from, ensure_ascii=False)
        found = {LICENCE: self.licence, ORIGIN: self.origin, STARTED_FROM: start}
        return {key: value for key, value in found.items() if value is not None}


def of_file(path: str | os.PathLike) -> Provenance:
    """What a weight file says of itself.

    Args:
        path: a file of any format that `ppcore.weights.read` takes.

    Raises:
        OSError: it cannot be read.
    """
    path = Path(path)
    said = metadata(path)
    return Provenance(
        file=path.name,
        sha256=sha256(path),
        layout=said.get("layout"),
        licence=said.get(LICENCE),
        origin=said.get(ORIGIN),
        started_from=_mapping(said.get(STARTED_FROM)),
    )


def start_from(path: str | os.PathLike, layout: str | None = None, known: Mapping[str, Any] | None = None) -> Start:
    """The entry `started_from` of weights that are trained on from a file.

    Args:
        path: the file.
        layout: the convention in which it is read, if that was said.
        known: what is known of the file beside what it says itself: `licence`, `origin`, `started_from`.

    Raises:
        OSError: it cannot be read.
    """
    found = of_file(path)
    found = replace(found, **{key: value for key, value in (known or {}).items() if value is not None})
    return Start(found.file, found.sha256, found.licence, found.origin, layout or found.layout, found.started_from)


def shown(value: Any) -> str:
    """A field as text for people."""
    if value is None or value in ([], {}, ""):
        return NOT_STATED
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mapping(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a file's metadata; anything else there is none of ours and says nothing."""
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
