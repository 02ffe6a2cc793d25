"""Writing a folder that another library loads by its name: weights, config.json, preprocessor_config.json, card."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddle import nn

from ppcore.errors import OutputError, reason
from ppcore.io import sha256, write_json
from ppcore.model import traits
from ppcore.weights import snippets
from ppcore.weights.card import JSON, Loader, write_card
from ppcore.weights.conversion import export, map_of
from ppcore.weights.description import CONFIG, WEIGHTS
from ppcore.weights.files import save_arrays
from ppcore.weights.processor_config import NAME, processor_config
from ppcore.weights.provenance import Provenance


def check_folder_output(folder: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """Says what would make `save_folder` fail or destroy something, before the work is done.

    Raises:
        OutputError: a file is there, a folder with other files than it wrote, or one that holds what is read.
    """
    folder = Path(folder)
    try:
        if not folder.parent.is_dir():
            raise OutputError(f"cannot write {folder}: the folder {folder.parent} does not exist")
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"cannot write {folder}: it is a file, and this layout is a folder")
        for path in (Path(path).resolve() for path in inputs if path is not None):
            if path.is_relative_to(folder.resolve()):
                raise OutputError(
                    f"{folder} holds what is read ({path.name}), and would be replaced: choose another output"
                )
        if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
            raise OutputError(
                f"{folder}: holds files that this suite did not write, or that were edited: choose another output"
            )
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}") from error


def save_folder(model: nn.Layer, folder: str | os.PathLike, layout: str, known: Provenance) -> list[str]:
    """Writes the weights of a model, what they are, and a card, all at once or not at all.

    Args:
        model: with its weights.
        folder: to write; one that this wrote is replaced.
        layout: one that is a folder.
        known: provenance; class names and preprocessing are taken from it.

    Returns:
        What does not come out as it was, in words.

    Raises:
        WeightsError: the layout cannot express the model or its preprocessing.
        OutputError: there is something else, or it cannot be written.
    """
    folder = Path(folder)
    check_folder_output(folder)
    weight_map, notes = map_of(model, layout), []
    config = {**weight_map.description.config(model), **_labels(model, known, notes), "torch_dtype": "float32"}
    processor = None
    if known.preprocessing is None:
        notes.append(f"no DataLoader.Eval to say how images are prepared: {NAME} is not written")
    else:
        processor, more = processor_config(known.preprocessing, traits(model).img_size)
        notes += more
    arrays = export(model, layout=layout)
    said = {"format": weight_map.framework, "layout": layout, "producer": "ppcore", **known.file_metadata()}
    try:
        temp = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}") from error
    try:
        save_arrays(temp / WEIGHTS, arrays, said)
        write_json(temp / CONFIG, config)
        if processor is not None:
            write_json(temp / NAME, processor)
        write_card(
            temp, known, loaders(folder.name, layout, known, processor is not None), title=folder.name, library=layout
        )
        temp.chmod(0o755)
        _replace(folder, temp)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return notes


def loaders(name: str, layout: str, known: Provenance, preprocessor: bool) -> Sequence[Loader]:
    """How to load a folder of that name."""
    found = [snippets.transformers(name, preprocessor=preprocessor)]
    return [*found, snippets.suite(name, layout, known.architecture)] if known.architecture else found


def _labels(model: nn.Layer, known: Provenance, notes: list[str]) -> dict[str, Any]:
    """Class names by number and numbers by class name."""
    count = traits(model).num_classes
    names = known.classes
    if names is not None and (len(names) != count or len(set(names)) != count):
        notes.append(
            f"{len(names)} class names for {count} outputs, or two alike: the classes are called LABEL_0, LABEL_1, …"
        )
        names = None
    names = names or [f"LABEL_{number}" for number in range(count)]
    return {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {n: i for i, n in enumerate(names)}}


def _is_ours(folder: Path) -> bool:
    """Whether all files of a folder are as `save_folder` wrote them."""
    try:
        card = json.loads((folder / JSON).read_text(encoding="utf-8"))
        sums = {name: one["sha256"] for name, one in card["files"].items()} | {"README.md": card["card"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return all(
        path.is_file() and (path.name == JSON or sums.get(path.name) == sha256(path)) for path in folder.iterdir()
    )


def _replace(folder: Path, temp: Path) -> None:
    """Puts `temp` in the place of `folder`, which a failure leaves as it was."""
    if not folder.exists():
        temp.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.old.", dir=folder.parent))
    os.replace(folder, old / "was")
    try:
        temp.rename(folder)
    except BaseException:
        os.replace(old / "was", folder)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)
