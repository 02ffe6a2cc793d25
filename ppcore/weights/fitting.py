"""Weights of another size made to fit a model: position embeddings resampled, classifiers turned into others.

What a family publishes for this belongs to it: its model says so by `weight_fitting()`, which returns a `Fitting`.
Without one there is the position embedding `pos_embed` alone.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from paddle import nn

from ppcore.errors import ConfigError, nearest
from ppcore.layers.pos_embed import MATRICES, interpolate
from ppcore.model import traits
from ppcore.weights.files import Arrays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitting:
    """What of a model's weights can be made to fit, and how.

    Attributes:
        modes: names of the interpolations there are.
        default: the one for a file whose source has none of its own.
        resampled: pattern of the names of the tensors that are resampled.
        resample: `(arrays, model, mode, notes) -> arrays` under our names; other misfits are kept, for the report. What is
            changed is added to `notes`, in words that begin as one of `conversion.CHANGES`.
        heads: by name, `(arrays, model, notes) -> arrays`, likewise, for a classifier that does not fit.
    """

    modes: tuple[str, ...]
    default: str
    resampled: str
    resample: Callable[[Arrays, nn.Layer, str, list[str]], Arrays]
    heads: Mapping[str, Callable[[Arrays, nn.Layer, list[str]], Arrays]] = field(default_factory=dict)

    def check(self, pos_embed: str | None, new_head: bool | str) -> None:
        """Raises ConfigError, with the names there are, for an interpolation or a rule for heads that is not there."""
        if pos_embed is not None and pos_embed not in self.modes:
            known = ", ".join(self.modes)
            raise ConfigError(f"pos_embed is {pos_embed!r}{nearest(pos_embed, self.modes)}, but must be one of {known}")
        if isinstance(new_head, str) and new_head not in self.heads:
            known = ", ".join(["true or false", *self.heads])
            raise ConfigError(f"new_head is {new_head!r}{nearest(new_head, self.heads)}, but must be one of {known}")


def say(note: str, notes: list[str]) -> None:
    """Adds a note, and logs it."""
    notes.append(note)
    log.info(note)


def _resample(arrays: Arrays, model: nn.Layer, mode: str, notes: list[str]) -> Arrays:
    """Resamples `pos_embed` [1, prefix + h·w, D] of a square grid to the model's grid."""
    if "pos_embed" not in arrays or "pos_embed" not in model.state_dict():
        return arrays
    array, wanted = arrays["pos_embed"], tuple(model.pos_embed.shape)
    prefix = wanted[1] - math.prod(model.grid)
    patches = array.shape[1] - prefix if array.ndim == 3 else -1
    side = math.isqrt(max(patches, 0))
    if array.shape == wanted or patches < 1 or side * side != patches or array.shape[::2] != wanted[::2]:
        return arrays
    say("position embedding: {0}x{0} grid resampled to {1}x{2} ({3})".format(side, *model.grid, mode), notes)
    return arrays | {"pos_embed": interpolate(array, (side, side), model.grid, num_prefix_tokens=prefix, mode=mode)}


POS_EMBED = Fitting(tuple(MATRICES), "timm_bicubic_antialias", "pos_embed", _resample)


def fitting_of(model: nn.Layer) -> Fitting:
    """What of this model's weights can be made to fit."""
    own = traits(model).weight_fitting
    return POS_EMBED if own is None else own()
