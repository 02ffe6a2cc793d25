"""Ranges of constructor arguments: each check names the argument, its value and what is allowed.

`owner` is the object under construction, whose class the message names; arguments come by keyword, so
that the name in the message is the caller's own.
"""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ppcore.errors import ConfigError


def fail(owner: Any, name: str, value: Any, allowed: str) -> None:
    """Raises ConfigError: `name` of `owner` is `value`, but must be `allowed`."""
    shown = " ".join(repr(value).split())[:100]
    raise ConfigError(f"{type(owner).__name__}: {name} is {shown}, but must be {allowed}")


def is_whole(value: Any) -> bool:
    """Whether a value is Python's int (Paddle takes no numpy integers), and neither a bool nor a float like one."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(owner: Any, least: int, *, optional: bool = False, **arguments: Any) -> None:
    """Integers, each at least `least`; `optional` ones may be None."""
    for name, value in arguments.items():
        if value is None and optional:
            continue
        if not is_whole(value) or value < least:
            fail(owner, name, value, f"a whole number from {least} on" + " or None" * optional)


def wholes(owner: Any, least: int, **arguments: Any) -> None:
    """Sequences of integers, each at least `least`."""
    for name, values in arguments.items():
        if not isinstance(values, Sequence) or not all(is_whole(value) and value >= least for value in values):
            fail(owner, name, values, f"a list of whole numbers from {least} on")


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def rate(owner: Any, **arguments: Any) -> None:
    """Probabilities of dropping something, in [0, 1)."""
    for name, value in arguments.items():
        if not _is_finite(value) or not 0 <= value < 1:
            fail(owner, name, value, "a number in [0, 1)")


def positive(owner: Any, **arguments: Any) -> None:
    """Finite numbers above 0."""
    for name, value in arguments.items():
        if not _is_finite(value) or value <= 0:
            fail(owner, name, value, "a number above 0")


def epsilon(owner: Any, **arguments: Any) -> None:
    """What keeps a layer norm from dividing by 0; Paddle takes no more than 0.001."""
    for name, value in arguments.items():
        if not _is_finite(value) or not 0 < value <= 1e-3:
            fail(owner, name, value, "a number in (0, 0.001]")


def number(owner: Any, *, optional: bool = False, **arguments: Any) -> None:
    """Finite numbers; `optional` ones may be None."""
    for name, value in arguments.items():
        if not (value is None and optional) and not _is_finite(value):
            fail(owner, name, value, "a finite number" + " or None" * optional)


def flag(owner: Any, **arguments: Any) -> None:
    """True or False."""
    for name, value in arguments.items():
        if not isinstance(value, bool):
            fail(owner, name, value, "true or false")


def choice(owner: Any, choices: Sequence[str], **arguments: Any) -> None:
    """One of a few words."""
    for name, value in arguments.items():
        if not isinstance(value, str) or value not in choices:
            fail(owner, name, value, " or ".join(filter(None, (", ".join(map(repr, choices[:-1])), repr(choices[-1])))))


def size(owner: Any, **arguments: Any) -> tuple[int, int]:
    """The (height, width), from 1 on, that one argument gives as a number or two."""
    ((name, value),) = arguments.items()
    both = value if isinstance(value, Sequence) else (value, value)
    if len(both) != 2 or not all(is_whole(side) and side >= 1 for side in both):
        fail(owner, name, value, "a whole number from 1 on, or two (height, width)")
    return both[0], both[1]


def heads(owner: Any, *, embed_dim: int, num_heads: int, head_dim: int | None) -> None:
    """Whether heads share the channels evenly, unless `head_dim` says how many each has."""
    if head_dim is None and embed_dim % num_heads:
        fail(owner, "num_heads", num_heads, f"a divisor of the {embed_dim} channels, or head_dim be given")
