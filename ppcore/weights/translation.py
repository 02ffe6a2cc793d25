"""From somebody's weight file to a file or folder in another layout: what `tools/convert_weights.py` does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle

import ppcore
from ppcore.config import components, roles
from ppcore.errors import ConfigError
from ppcore.model import parameter_count, traits
from ppcore.weights.conversion import CHANGES, load, map_of
from ppcore.weights.description import described_architecture, read_config, weight_file
from ppcore.weights.files import read
from ppcore.weights.output import Output
from ppcore.weights.provenance import Provenance, of_file


@dataclass(frozen=True)
class Said:
    """The input and what is said of it.

    Attributes:
        input: a weight file, or a folder with config.json.
        source: its layout.
        key: entry of a training checkpoint.
        pos_embed: interpolation of a position embedding of another grid.
        new_head: whether a classifier that does not fit is left out, or the rule for it.
        licence: of the weights; None: what the file says.
        origin: of the weights, likewise.
    """

    input: str | os.PathLike
    source: str
    key: str | None = None
    pos_embed: str | None = None
    new_head: bool | str = False
    licence: str | None = None
    origin: str | None = None


def translate(
    said: Said, arch: str | None, arguments: Mapping[str, Any], output: str | os.PathLike, layout: str
) -> list[str]:
    """Reads weights and writes them in another layout.

    Args:
        said: the input.
        arch: builder; None: the folder's config.json says it.
        arguments: of the builder, before what a config.json says.
        output: file, or folder for a layout that is one.
        layout: to write.

    Returns:
        What was chosen and changed on the way, in words.

    Raises:
        PPError: the input is damaged or of another layout, the network another, the output cannot be written.
    """
    target, file = Output(output, layout), weight_file(Path(said.input))
    target.check(None, file)
    if arch is None and not Path(said.input).is_dir():
        raise ConfigError("--arch is missing: only a folder with config.json says itself which network it is")
    arch_node = {"name": arch} if arch else described_architecture(file.parent, read(file, said.key), said.source)
    node = {**arch_node, **arguments}
    components.check(node, "--arch", roles.NETWORK)
    paddle.seed(0)  # of a fresh classifier
    model = components.build(node)
    target.check(model, file)
    notes = load(model, file, said.source, key=said.key, pos_embed=said.pos_embed, new_head=said.new_head)
    return notes + target.write(model, _known(said, file, node, model, notes))


def _known(said: Said, file: Path, node: Mapping[str, Any], model: paddle.nn.Layer, notes: list[str]) -> Provenance:
    """What is known of the weights of the file, as they are in the model."""
    own = traits(model)
    known = replace(
        of_file(file),
        layout=said.source,
        architecture=dict(node),
        parameters=parameter_count(model),
        task="image-to-image" if own.makes_images else "image-classification" if own.num_classes else None,
        classes=_classes(file, own.num_classes) if map_of(model, said.source).description else None,
        suite=ppcore.__version__,
    )
    stated = {"licence": said.licence, "origin": said.origin}
    known = replace(known, **{key: value for key, value in stated.items() if value is not None})
    return known.changed([note for note in notes if note.startswith(CHANGES)])


def _classes(file: Path, count: int | None) -> list[str] | None:
    """Class names in the config.json beside a file, where they are as many as the outputs."""
    names = (read_config(file.parent) or {}).get("id2label")
    if not isinstance(names, Mapping) or len(names) != count:
        return None
    listed = [names.get(str(number)) for number in range(len(names))]
    return listed if all(isinstance(name, str) for name in listed) else None
