"""The one door for weights that somebody names: a file, a checkpoint or a run, and how to read it."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import paddle.nn as nn

from ppcore.weights.checkpoints import find_weights
from ppcore.weights.conversion import load

if TYPE_CHECKING:
    from ppcore.config import Pretrained


class Loaded(NamedTuple):
    """A weight file that was loaded, why it is the one, and what was chosen and changed on the way, in words."""

    path: Path
    why: str
    notes: tuple[str, ...]


def load_pretrained(model: nn.Layer, weights: "Pretrained") -> Loaded:
    """Finds the weight file that is meant and loads it into `model`.

    Args:
        model: what they are for.
        weights: which weights, and how to read them.

    Returns:
        The file, why it is the one, and what was chosen and changed on the way.

    Raises:
        CheckpointError: a folder without a checkpoint, or a damaged one.
        WeightsError: the file cannot be read, or does not fit (see `load`).
        ConfigError: unknown `pos_embed` or rule for the head.
    """
    found = find_weights(weights.path)
    notes = load(
        model, found.path, weights.source, key=weights.key, pos_embed=weights.pos_embed, new_head=weights.new_head
    )  # fmt: skip
    return Loaded(*found, tuple(notes))


def freeze(model: nn.Layer) -> None:
    """Evaluation mode, and no gradients for the parameters; they still flow to the input."""
    model.eval()
    for parameter in model.parameters():
        parameter.stop_gradient = True
