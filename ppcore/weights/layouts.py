"""Weight layouts as tables: `(pattern of our name, template of theirs, kind)`, read in both directions.

Our names are timm's; our arrays have Paddle's layouts: linear (in, out), convolution
(out, in, h, w). In a template {0}, {1}, … are the pattern's groups, {next[0]}, … the same counted
from 1 instead of 0, and {part} is one of `kind.names`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from paddle import nn

from ppcore.errors import WeightsError
from ppcore.weights.conversion import WeightMap
from ppcore.weights.files import Arrays


@dataclass(frozen=True)
class Kind:
    """How one array of a layout is stored.

    Attributes:
        ndim: axes of the stored array; anything else is passed on as it is, and reported.
        load: stored array -> ours.
        store: (our array, model) -> stored.
        names: suffixes of the stored names when our array is several of theirs.
    """

    ndim: int
    load: Callable[[np.ndarray], np.ndarray]
    store: Callable[[np.ndarray, nn.Layer], np.ndarray]
    names: tuple[str, ...] = ("",)


def _same(ndim: int) -> Kind:
    return Kind(ndim, lambda a: a, lambda a, model: a)


VECTOR, TOKENS, MATRIX, CONV = (_same(n) for n in (1, 3, 2, 4))
TRANSPOSED = Kind(2, lambda a: a.T, lambda a, model: a.T)
Table = list[tuple[str, str, Kind]]


def _their_names(table: Table, name: str) -> tuple[tuple[str, ...], Kind] | None:
    for pattern, template, kind in table:
        if match := re.fullmatch(pattern, name):
            groups = match.groups()
            following = [int(g) + 1 if g.isdigit() else g for g in groups]
            return tuple(template.format(*groups, part=p, next=following) for p in kind.names), kind
    return None


def load(table: Table, arrays: Arrays, model: nn.Layer) -> Arrays:
    """Arrays under our names; what no entry claims keeps its name, for the report of misfits."""
    left, ours, own = dict(arrays), {}, model.state_dict()
    for name in own:
        entry = _their_names(table, name)
        if entry is None or not all(part in left for part in entry[0]):
            continue
        parts, kind = [left[part] for part in entry[0]], entry[1]
        if len({part.shape for part in parts}) > 1:
            continue
        for part in entry[0]:
            del left[part]
        loaded = [kind.load(part) if part.ndim == kind.ndim else part for part in parts]
        ours[name] = loaded[0] if len(loaded) == 1 else np.concatenate(loaded, axis=-1)
    # A file of another layout may use our names for other arrays: they must not pass for ours.
    return ours | {f"{n} (of another layout)" if n in own else n: a for n, a in left.items()}


def store(table: Table, state: Arrays, model: nn.Layer, layout: str) -> Arrays:
    """Arrays under their names.

    Raises:
        WeightsError: the table has no entry for some of ours.
    """
    theirs, unmapped = {}, []
    for name, array in state.items():
        entry = _their_names(table, name)
        if entry is None:
            unmapped.append(name)
            continue
        names, kind = entry
        for part, values in zip(names, np.split(array, len(names), axis=-1), strict=True):
            theirs[part] = np.ascontiguousarray(kind.store(values, model))
    if unmapped:
        raise WeightsError(f"the {layout} layout has no place for {', '.join(unmapped)}")
    return theirs


def map_of(table: Table, layout: str, **options) -> WeightMap:
    """The `WeightMap` of a table; `options` are its other attributes."""
    return WeightMap(
        lambda arrays, model: load(table, arrays, model),
        lambda state, model: store(table, state, model, layout),
        **options,
    )


def renamed(dropped: str, *renames: tuple[str, str]) -> WeightMap:
    """The layout of PyTorch files whose arrays are ours under other names, beside some that have no use here.

    Args:
        dropped: pattern of the names in the file that are left out.
        renames: (pattern, replacement), each tried on every other name.
    """

    def our_name(name: str) -> str:
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        return name

    return WeightMap(
        lambda arrays, model: {our_name(n): a for n, a in arrays.items() if not re.fullmatch(dropped, n)},
        lambda state, model: dict(state),
        framework="pt",
    )
