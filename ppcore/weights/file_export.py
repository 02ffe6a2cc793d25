"""Writing a weight file with its card beside it."""

import os
from pathlib import Path

from paddle import nn

from ppcore.weights import snippets
from ppcore.weights.card import Loader, check_card, write_card
from ppcore.weights.conversion import map_of, save
from ppcore.weights.provenance import Provenance


def save_file(model: nn.Layer, path: str | os.PathLike, layout: str, known: Provenance) -> None:
    """Writes weights in a layout, and their card.

    Args:
        model: with its weights.
        path: .safetensors, .pdparams or .npz.
        layout: naming and storing convention.
        known: provenance; .safetensors files carry licence and origin with them.

    Raises:
        WeightsError: the layout has no place for the model.
        OutputError: it cannot be written, or something would be lost.
    """
    path = Path(path)
    check_card(path)
    save(model, path, layout, said=known.file_metadata())
    write_card(path, known, loaders(model, path, layout, known), library=LIBRARIES.get(layout))


# Layouts that are a library of Hugging Face's own list.
LIBRARIES = {"timm": "timm"}


def loaders(model: nn.Layer, path: Path, layout: str, known: Provenance) -> list[Loader]:
    """How to load the file: with this suite, and in the framework the layout is from."""
    if known.architecture is None:
        return []
    found = [snippets.suite(path.name, layout, known.architecture)]
    code = map_of(model, layout).snippet(path.name, known.architecture, model)
    if code is not None and path.suffix == ".safetensors":
        found.append(Loader(layout if layout in LIBRARIES else f"{layout} (timm)", code))
    return found
