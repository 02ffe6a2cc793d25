"""Folders of weights that describe their network: config.json beside the weight file, as Hugging Face's libraries have it.

What is in a config.json is a layout's business (`Description`); here is what all of them share: finding the files, reading them
without trusting them, and seeing that a model is the one described.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ppcore.config import catalogue, signatures
from ppcore.errors import WeightsError, reason

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_OTHERS = ("pytorch_model.bin",)
_LARGEST = 16 * 2**20  # bytes of a config.json; 21,843 class names take 1 MB

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Description:
    """What the config.json of a layout says, both ways.

    Attributes:
        config: model -> the content; raises WeightsError for a model that the layout cannot express.
        arguments: the content -> arguments of our class; None for another architecture. Raises WeightsError when damaged.
        check: (arguments, arrays) raises WeightsError unless the arrays are those of such a network, so that nothing larger
            than the file is built.
        own: model -> the arguments as `arguments` would give them.
    """

    config: Callable[[nn.Layer], dict[str, Any]]
    arguments: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    check: Callable[[Mapping[str, Any], Arrays], None]
    own: Callable[[nn.Layer], dict[str, Any]]


# May differ between a description and the model that its weights are loaded into.
_FREE = {"img_size", "num_classes"}


def is_described(folder: Path) -> bool:
    """Whether a folder holds weights with a config.json."""
    return (folder / CONFIG).is_file() and not (folder / "checkpoints").is_dir()


def weight_file(path: Path) -> Path:
    """The weight file of a described folder; any other path is itself.

    Raises:
        WeightsError: the folder has none, or several parts of one.
    """
    if not path.is_dir():
        return path
    for name in (WEIGHTS, *_OTHERS):
        if (path / name).is_file():
            return path / name
    if any(path.glob("*.index.json")):
        raise WeightsError(f"{path}: its weights are split over several files: save them again as one {WEIGHTS}")
    raise WeightsError(f"{path}: a folder without {WEIGHTS} or {' or '.join(_OTHERS)}: give a weight file")


def read_config(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's config.json; None where there is none.

    Raises:
        WeightsError: it is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LARGEST:
            raise WeightsError(f"{path}: larger than {_LARGEST // 2**20} MiB, which no description of a network is")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({reason(error)[:200]})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a mapping")
    return content


def check_described(model: nn.Layer, description: Description, file: Path) -> None:
    """Checks that a model is the one that the config.json beside its weights describes: shapes alone do not say it.

    Raises:
        WeightsError: it is damaged, or the model has other heads, activations, …; the message says how to build it.
    """
    found = read_config(file.parent)
    if found is None:
        return
    where = file.parent / CONFIG
    try:
        wanted = description.arguments(found)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None
    if wanted is None:
        raise WeightsError(
            f"{where}: describes {_called(found)}, which is not what {type(model).__name__} reads in this layout"
        )
    own = description.own(model)
    other = [key for key, value in wanted.items() if key not in _FREE and value != own[key]]
    if other:
        has = ", ".join(f"{key}={own[key]}" for key in other)
        build = " ".join(f"{key}={wanted[key]}" for key in other)
        raise WeightsError(f"{where}: the model has {has}, the description says otherwise: build it with {build}")


def described_architecture(folder: Path, arrays: Arrays, layout: str) -> dict[str, Any]:
    """The network that a folder describes, as the section `Arch` names it.

    Args:
        folder: with config.json.
        arrays: of its weight file, under the names they have there.
        layout: whose description it is.

    Raises:
        WeightsError: there is no config.json, it is damaged, not that of the arrays, or of no network known here.
    """
    found = read_config(folder)
    if found is None:
        raise WeightsError(f"{folder}: has no {CONFIG} to say which network it is: give --arch")
    for entry in catalogue.components_of("models"):
        made = entry.target
        # A class that inherits its layouts is described by the one it has them from.
        if signatures.made_by(made) is not made or "weight_maps" not in vars(made):
            continue
        description = catalogue.weight_maps_of(made).get(layout, None)
        description = description and description.description
        try:
            arguments = description and description.arguments(found)
            if arguments is not None:
                description.check(arguments, arrays)
                return {"name": entry.name, **arguments}
        except WeightsError as error:
            raise WeightsError(f"{folder / CONFIG}: {error}") from None
    raise WeightsError(f"{folder / CONFIG}: describes {_called(found)}, which no network here reads: give --arch")


def _called(config: Mapping[str, Any]) -> str:
    """What a config.json calls its network."""
    names = config.get("architectures")
    said = [f"model_type {config.get('model_type')!r:.60}"]
    return ", ".join(said + [f"architectures {names!r:.100}"] * bool(names))
