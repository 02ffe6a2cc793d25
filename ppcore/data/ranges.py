"""Checks of the arguments of data sets and transforms, one line each: whose argument, its value, what it must be."""

import math
from collections.abc import Sequence
from typing import Any

from ppcore.errors import ConfigError


def check(ok: bool, owner: object, argument: str, value: Any, needs: str) -> None:
    """Raises ConfigError `Owner: argument is value, but must be needs` unless `ok`; `owner` is an object or a name."""
    if not ok:
        who = owner if isinstance(owner, str) else type(owner).__name__
        raise ConfigError(f"{who}: {argument} is {value!r}, but must be {needs}")


def check_share(owner: object, **values: float) -> None:
    """Raises ConfigError unless all are within 0..1, as probabilities are."""
    for argument, value in values.items():
        check(0 <= value <= 1, owner, argument, value, "within 0..1")


def check_choice(owner: object, argument: str, value: Any, choices: Sequence) -> None:
    """Raises ConfigError unless the value is one of the choices."""
    *most, last = map(str, choices)
    check(value in choices, owner, argument, value, f"{', '.join(most)} or {last}")


def increasing(
    owner: object, argument: str, pair: Sequence[float], largest: float = math.inf, needs: str = "positive numbers"
) -> tuple[float, float]:
    """A pair with 0 < first <= second <= `largest`.

    Raises:
        ConfigError: it is not.
    """
    ok = len(pair) == 2 and 0 < pair[0] <= pair[1] <= largest
    check(ok, owner, argument, list(pair), f"two increasing {needs}")
    return float(pair[0]), float(pair[1])


def height_and_width(owner: object, size: int | Sequence[int]) -> tuple[int, int]:
    """A size given as one number (square) or as [height, width].

    Raises:
        ConfigError: not one or two positive numbers.
    """
    values = (size,) if isinstance(size, int) else tuple(size)
    check(0 < len(values) <= 2 and min(values) >= 1, owner, "size", size, "a positive number or [height, width]")
    return values[0], values[-1]
